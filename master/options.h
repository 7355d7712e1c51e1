/* The command-line options of the subcommands, but for keygen and token, which read their own. */
#ifndef MASTER_OPTIONS_H
#define MASTER_OPTIONS_H

#include "config/config.h"

#include <sys/types.h>

enum {
    OPTION_SOURCE = 1, /* --config, --env, --config-dir */
    OPTION_PID_FILE = 2,
    OPTION_DAEMON = 4,
    OPTION_JSON = 8,
    OPTION_PID = 16,
    OPTION_PORT = 32,
    OPTION_DEFLATE = 64, /* --deflate, --deflate-takeover */
    OPTION_DEFLATE_TAKEOVER = 128,
    OPTION_TLS = 256,
    OPTION_STRICT = 512,
    OPTION_CHECK = 1024,
};

struct options {
    struct config_source source;
    const char *pid_file; /* NULL: not given */
    bool daemon, json, strict, check, help;
    bool deflate, deflate_takeover;
    pid_t pid;            /* 0: not given */
    uint16_t port;        /* 0: not given */
    const char *tls_file; /* echo-test --tls; NULL: not given */
};

/* argv[0] is the subcommand's name. `allowed` is a sum of OPTION_*. False, with the reason on
 * standard error, when an argument is not understood. */
bool options_read(struct options *options, unsigned allowed, int argc, char **argv);

#endif
