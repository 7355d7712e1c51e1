/*
 * `websocket-server token verify`: says what a server with this configuration thinks of a token,
 * and prints the token's claims as JSON. The token itself is never printed, in no message either.
 */
#include "common/clock.h"
#include "common/json.h"
#include "master/cmd_source.h"
#include "master/cmd_token_parts.h"
#include "worker/token/token.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "Usage: websocket-server token verify [TOKEN | -] [options]\n"
    "\n"
    "Verifies a token as the server would, and prints what it claims, never the token. The token "
    "comes\n"
    "from standard input for - or nothing: better so, as arguments can be seen by others (ps).\n"
    "\n" CMD_SOURCE_HELP "  --help\n"
    "\n"
    "Exit status: 0 good, 1 refused (why is on standard error), 2 wrong usage or configuration.\n";

static void add_list(struct buf *json, const char *name, const struct config_list *list)
{
    buf_addf(json, "\"%s\":[", name);
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            buf_add_char(json, ',');
        json_add_string(json, slice_of(list->items[i]));
    }
    buf_add_text(json, "],");
}

static int print_grant(const struct grant *grant)
{
    struct buf json;
    int status;

    buf_init(&json, 64 << 10);
    buf_add_text(&json, "{\"sub\":");
    json_add_string(&json, slice_of(grant->sub));
    if (*grant->jti) {
        buf_add_text(&json, ",\"jti\":");
        json_add_string(&json, slice_of(grant->jti));
    }
    if (grant->expires_at != INT64_MAX) {
        buf_add_text(&json, ",\"exp\":");
        buf_add_int(&json, grant->expires_at);
    }
    buf_add_text(&json, ",\"po\":{");
    add_list(&json, "send", &grant->send);
    add_list(&json, "groups", &grant->groups);
    add_list(&json, "relay", &grant->relay);
    buf_addf(&json, "\"broadcast\":%s,\"admin\":%s}}", grant->broadcast ? "true" : "false",
             grant->admin ? "true" : "false");
    printf("%s\n", buf_text(&json));
    status = json.failed || fflush(stdout) != 0 ? EXIT_REFUSED : EXIT_GOOD;
    buf_fini(&json);
    return status;
}

static int judge_token(const struct config *config, struct slice token)
{
    struct grant *grant = NULL;
    const char *reason;
    enum token_fault fault = token_judge(config, token, clock_unix_s(), &grant, &reason);
    int status;

    if (fault != TOKEN_GOOD) {
        fprintf(stderr, "token verify: %s\n", reason);
        return EXIT_REFUSED;
    }
    status = print_grant(grant);
    grant_unref(grant);
    return status;
}

/* Reads standard input, without the white space at its end. Input beyond size bytes stays too long
 * for a token. */
static struct slice read_token(char *room, size_t size)
{
    size_t len = fread(room, 1, size, stdin);

    while (len && strchr(" \t\r\n", room[len - 1]) && room[len - 1])
        len--;
    return slice_make(room, len);
}

static bool take_verify_options(int argc, char **argv, struct config_source *source,
                                bool *wants_help)
{
    static const struct option table[] = { { "help", no_argument, NULL, 'h' },
                                           CMD_SOURCE_OPTIONS,
                                           { NULL, 0, NULL, 0 } };
    int option;

    optind = 0;
    while ((option = getopt_long(argc, argv, "h", table, NULL)) != -1) {
        if (option == 'h')
            *wants_help = true;
        else if (!cmd_source_take(option, optarg, source))
            return false;
    }
    if (argc - optind <= 1)
        return true;
    fputs("token verify: one token at a time\n", stderr); /* no message ever repeats a token */
    return false;
}

int cmd_token_verify(int argc, char **argv)
{
    char room[2 * TOKEN_BYTES_MAX];
    struct config_source source = { NULL, NULL, NULL };
    struct config *config;
    struct slice token;
    bool wants_help = false;
    int status;

    if (!take_verify_options(argc, argv, &source, &wants_help)) {
        fputs("Try `websocket-server token verify --help`.\n", stderr);
        return EXIT_USAGE;
    }
    if (wants_help) {
        fputs(help, stdout);
        return EXIT_GOOD;
    }
    config = cmd_source_load(&source);
    if (!config)
        return EXIT_USAGE;
    if (optind < argc && strcmp(argv[optind], "-") != 0)
        token = slice_of(argv[optind]);
    else
        token = read_token(room, sizeof room);
    status = judge_token(config, token);
    explicit_bzero(room, sizeof room);
    config_free(config);
    return status;
}
