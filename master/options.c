#include "master/options.h"

#include "master/cmd_source.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    unsigned set;
    struct option option;
} known[] = {
    { OPTION_SOURCE, { "config", required_argument, NULL, CMD_SOURCE_FILE } },
    { OPTION_SOURCE, { "env", required_argument, NULL, CMD_SOURCE_ENV } },
    { OPTION_SOURCE, { "config-dir", required_argument, NULL, CMD_SOURCE_DIR } },
    { OPTION_PID_FILE, { "pid-file", required_argument, NULL, OPTION_PID_FILE } },
    { OPTION_DAEMON, { "daemon", no_argument, NULL, OPTION_DAEMON } },
    { OPTION_JSON, { "json", no_argument, NULL, OPTION_JSON } },
    { OPTION_STRICT, { "strict", no_argument, NULL, OPTION_STRICT } },
    { OPTION_CHECK, { "check", no_argument, NULL, OPTION_CHECK } },
    { OPTION_PID, { "pid", required_argument, NULL, OPTION_PID } },
    { OPTION_PORT, { "port", required_argument, NULL, OPTION_PORT } },
    { OPTION_DEFLATE, { "deflate", no_argument, NULL, OPTION_DEFLATE } },
    { OPTION_DEFLATE, { "deflate-takeover", no_argument, NULL, OPTION_DEFLATE_TAKEOVER } },
    { OPTION_TLS, { "tls", required_argument, NULL, OPTION_TLS } },
};
enum { KNOWN = sizeof known / sizeof known[0] };

/* Returns a whole decimal number from 1 to max; 0 when text is none. */
static long number(const char *text, long max)
{
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (errno || *end || text[0] < '0' || text[0] > '9' || value < 1 || value > max)
        return 0;
    return value;
}

static bool number_needed(const char *name, const char *text, long max, long *out)
{
    *out = number(text, max);
    if (!*out)
        fprintf(stderr, "websocket-server: --%s: found \"%s\", allowed is 1 to %ld\n", name, text,
                max);
    return *out != 0;
}

static bool take_option(struct options *options, int option, const char *value)
{
    long n;

    if (cmd_source_take(option, value, &options->source))
        return true;
    switch (option) {
    case 'h':
        return options->help = true;
    case OPTION_PID_FILE:
        options->pid_file = value;
        return true;
    case OPTION_TLS:
        options->tls_file = value;
        return true;
    case OPTION_DAEMON:
        return options->daemon = true;
    case OPTION_JSON:
        return options->json = true;
    case OPTION_STRICT:
        return options->strict = true;
    case OPTION_CHECK:
        return options->check = true;
    case OPTION_PID:
        if (!number_needed("pid", value, 4194304, &n))
            return false;
        options->pid = (pid_t)n;
        return true;
    case OPTION_PORT:
        if (!number_needed("port", value, 65535, &n))
            return false;
        options->port = (uint16_t)n;
        return true;
    case OPTION_DEFLATE:
        return options->deflate = true;
    case OPTION_DEFLATE_TAKEOVER:
        return options->deflate_takeover = true;
    default: /* getopt_long has printed the reason */
        return false;
    }
}

bool options_read(struct options *options, unsigned allowed, int argc, char **argv)
{
    struct option table[KNOWN + 2] = { { "help", no_argument, NULL, 'h' } };
    size_t count = 1;
    int option;

    *options = (struct options){ 0 };
    for (size_t i = 0; i < KNOWN; i++)
        if (known[i].set & allowed)
            table[count++] = known[i].option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "h", table, NULL)) != -1)
        if (!take_option(options, option, optarg))
            return false;
    if (optind < argc && !options->help) {
        fprintf(stderr, "%s: unknown argument \"%s\"\n", argv[0], argv[optind]);
        return false;
    }
    return true;
}
