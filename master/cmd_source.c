#include "master/cmd_source.h"

#include <stdio.h>

bool cmd_source_take(int option, const char *value, struct config_source *source)
{
    switch (option) {
    case CMD_SOURCE_FILE:
        source->file = value;
        return true;
    case CMD_SOURCE_ENV:
        source->env = value;
        return true;
    case CMD_SOURCE_DIR:
        source->config_dir = value;
        return true;
    default:
        return false;
    }
}

struct config *cmd_source_load(const struct config_source *source)
{
    struct config_report report;
    struct config *config;

    config_report_init(&report);
    config = config_load(source, &report);
    if (!config)
        fputs(buf_text(&report.errors), stderr);
    config_report_fini(&report);
    if (config)
        cmd_source_say(source, config);
    return config;
}

void cmd_source_say(const struct config_source *source, const struct config *config)
{
    if (!source->file)
        fprintf(stderr, "websocket-server: configuration %s\n", config->file);
}
