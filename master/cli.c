#include "master/cli.h"

#include "master/cmd_config.h"
#include "master/cmd_keygen.h"
#include "master/cmd_metrics.h"
#include "master/cmd_reload.h"
#include "master/cmd_size.h"
#include "master/cmd_source.h"
#include "master/cmd_token.h"
#include "master/rlimits.h"
#include "master/server.h"
#include "master/status.h"
#include "master/version.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PEM_BYTES_MAX = 256 * 1024 };

#define EXIT_HELP                                                                                  \
    "\n"                                                                                           \
    "Exit status: 0 done, 1 failed at run time, 2 wrong usage or configuration,\n"                 \
    "3 (status, reload) not running, 4 (reload --strict) something waits for a restart.\n"

static const char help_all[] =
    "Usage: websocket-server [COMMAND] [OPTION...]\n"
    "\n"
    "  serve            serve WebSocket clients (the default)\n"
    "  check-config     say what is wrong with the configuration\n"
    "  explain-config   a key, or all: type, default, bounds, how a reload applies it\n"
    "  explain-metrics  what each number of GET /metrics means, as Markdown\n"
    "  status           what a running server is doing\n"
    "  reload           have a running server read its configuration again\n"
    "  keygen           make a key for tokens\n"
    "  token            issue or verify a token\n"
    "  size             what so many users need of a machine and of Redis\n"
    "  echo-test        a bare WebSocket echo on loopback, for test suites\n"
    "  version          print the version\n"
    "\n"
    "`websocket-server COMMAND --help` tells more of each.\n" EXIT_HELP;

static const char help_serve[] =
    "Usage: websocket-server [serve] [OPTION...]\n"
    "\n"
    "Serves in the foreground and logs to standard error, unless the configuration says "
    "otherwise.\n"
    "\n" CMD_SOURCE_HELP "  --pid-file FILE    instead of the configuration's pidFile\n"
    "  --daemon           serve in the background; returns when connections are accepted\n"
    "  --help\n"
    "\n"
    "SIGTERM, SIGINT: stop, telling every client; once more: at once. SIGHUP: read the\n"
    "configuration again. SIGUSR1: open the log file again.\n" EXIT_HELP;

/* How status and reload are told which server. */
#define WHICH_SERVER_HELP                                                                          \
    "Without an option the server that runs is meant; when several run, they are listed.\n"        \
    "\n"                                                                                           \
    "  --pid-file FILE    the server that holds this pid file\n"                                   \
    "  --pid PID          the server whose master this is\n"                                       \
    "                     the server with this configuration:\n" CMD_SOURCE_HELP

static const char help_status[] =
    "Usage: websocket-server status [OPTION...]\n"
    "\n"
    "Reads what a running server says about itself, its workers, certificates and "
    "counters.\n" WHICH_SERVER_HELP "  --json             one line of JSON\n"
    "  --check            only whether clients can be served: status 0 and \"ready\", or 1 and\n"
    "                     what is wrong, a line each: no-worker, draining, redis-away, view-stale\n"
    "  --help\n" EXIT_HELP;

static const char help_reload[] =
    "Usage: websocket-server reload [OPTION...]\n"
    "\n"
    "Has a running server read its configuration again (SIGHUP), waits for the end of that, and\n"
    "prints which keys are in force and which wait for a restart. A configuration with an error\n"
    "changes nothing: status 2.\n" WHICH_SERVER_HELP
    "  --strict           status 4 when something waits for a restart\n"
    "  --help\n" EXIT_HELP;

static const char help_echo[] =
    "Usage: websocket-server echo-test --port N [--deflate | --deflate-takeover] [--tls FILE]\n"
    "\n"
    "Echoes text and binary messages of up to 32 MiB on 127.0.0.1, without tokens and without\n"
    "Redis, by the server's own codec. Ends on SIGTERM or SIGINT.\n"
    "\n"
    "  --deflate            compress messages of any length (permessage-deflate) when the client\n"
    "                       offers it\n"
    "  --deflate-takeover   the same, and messages may refer to earlier messages\n"
    "  --tls FILE           over TLS, with the certificate and the key in FILE (PEM)\n" EXIT_HELP;

static const char help_metrics[] =
    "Usage: websocket-server explain-metrics\n"
    "\n"
    "Prints the table of metrics as Markdown: docs/metrics.md.\n" EXIT_HELP;

static const char help_version[] = "Usage: websocket-server version\n" EXIT_HELP;

/* Reads the file with certificate and key; false with a reason on standard error. */
static bool read_pem(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "re");

    if (file && !buf_reserve(out, PEM_BYTES_MAX))
        out->len = fread(out->data, 1, PEM_BYTES_MAX, file);
    if (!file || ferror(file) || out->len == 0)
        fprintf(stderr, "echo-test: %s: %s\n", path, errno ? strerror(errno) : "empty");
    if (file)
        fclose(file);
    return out->len > 0;
}

static int echo_test(const struct options *options)
{
    struct slice pem = SLICE("");
    struct buf file;
    int status;

    if (!options->port) {
        fputs("echo-test: --port N is needed\n", stderr);
        return EXIT_USAGE;
    }
    buf_init(&file, PEM_BYTES_MAX);
    if (options->tls_file) {
        if (!read_pem(options->tls_file, &file))
            return EXIT_FAILED;
        pem = buf_slice(&file);
    }
    rlimits_set();
    status = worker_echo_test(options->port, options->deflate, options->deflate_takeover, pem, pem);
    buf_fini(&file);
    return status;
}

static int version(const struct options *options)
{
    (void)options;
    version_print();
    return 0;
}

/* Those that read their own command line have `main`, the others `run`. */
static const struct command {
    const char *name;
    const char *help;
    unsigned allowed; /* OPTION_* */
    int (*run)(const struct options *options);
    int (*main)(int argc, char **argv);
} commands[] = {
    { "serve", help_serve, OPTION_SOURCE | OPTION_PID_FILE | OPTION_DAEMON, serve, NULL },
    { "check-config", NULL, 0, NULL, cmd_check_config },
    { "explain-config", NULL, 0, NULL, cmd_explain_config },
    { "explain-metrics", help_metrics, 0, cmd_explain_metrics, NULL },
    { "status", help_status,
      OPTION_SOURCE | OPTION_PID_FILE | OPTION_PID | OPTION_JSON | OPTION_CHECK, status, NULL },
    { "reload", help_reload, OPTION_SOURCE | OPTION_PID_FILE | OPTION_PID | OPTION_STRICT,
      cmd_reload, NULL },
    { "keygen", NULL, 0, NULL, cmd_keygen },
    { "token", NULL, 0, NULL, cmd_token },
    { "size", NULL, 0, NULL, cmd_size },
    { "echo-test", help_echo, OPTION_PORT | OPTION_DEFLATE | OPTION_TLS, echo_test, NULL },
    { "version", help_version, 0, version, NULL },
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    struct options options;

    if (command->main)
        return command->main(argc, argv);
    if (!options_read(&options, command->allowed, argc, argv)) {
        fprintf(stderr, "Try: websocket-server %s --help\n", command->name);
        return EXIT_USAGE;
    }
    if (options.help) {
        fputs(command->help, stdout);
        return 0;
    }
    return command->run(&options);
}

int cli_run(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "serve";
    const struct command *command;

    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
        fputs(help_all, stdout);
        return 0;
    }
    if (strcmp(first, "--version") == 0) {
        version_print();
        return 0;
    }
    if (argc < 2 || first[0] == '-') /* no command: serve, with these options */
        return run_command(&commands[0], argc, argv);
    command = find_command(first);
    if (!command) {
        fprintf(stderr, "websocket-server: unknown command \"%s\"\nTry: websocket-server --help\n",
                first);
        return EXIT_USAGE;
    }
    return run_command(command, argc - 1, argv + 1);
}
