/* The options that say which configuration a subcommand reads: --config, --env, --config-dir. */
#ifndef MASTER_CMD_SOURCE_H
#define MASTER_CMD_SOURCE_H

#include "config/config.h"

#include <getopt.h>

enum { CMD_SOURCE_FILE = 0x1000, CMD_SOURCE_ENV, CMD_SOURCE_DIR };

/* The rows of the three options in a table for getopt_long. */
#define CMD_SOURCE_OPTIONS                                                                         \
    { "config", required_argument, NULL, CMD_SOURCE_FILE },                                        \
        { "env", required_argument, NULL, CMD_SOURCE_ENV },                                        \
    {                                                                                              \
        "config-dir", required_argument, NULL, CMD_SOURCE_DIR                                      \
    }

#define CMD_SOURCE_HELP                                                                            \
    "  --config FILE      this configuration file\n"                                               \
    "  --env NAME         config-NAME.json (else of $POSTOFFICE_ENV, else config.json, else\n"     \
    "                     config-dev.json)\n"                                                      \
    "  --config-dir DIR   look in this folder alone (else: installed, in /etc/postoffice; "        \
    "built,\n"                                                                                     \
    "                     in the folder config beside the program, then in /etc/postoffice)\n"

/* Takes an option that getopt_long returned. False when the option is none of the three. */
bool cmd_source_take(int option, const char *value, struct config_source *source);
/* Loads the configuration, owned by the caller (config_free), and says which when no file was
 * named. On errors prints them to standard error and returns NULL. Warnings are printed by
 * check-config alone. */
struct config *cmd_source_load(const struct config_source *source);
/* Prints to standard error which file is used, unless the command line has named the file. */
void cmd_source_say(const struct config_source *source, const struct config *config);

#endif
