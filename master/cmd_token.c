/* `websocket-server token`: finds the verb; cmd_token_issue.c and cmd_token_verify.c do the work.
 */
#include "master/cmd_token.h"

#include "common/log.h"
#include "master/cmd_token_parts.h"
#include "worker/token/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "Usage: websocket-server token issue --sub ADDRESS [options]\n"
                           "       websocket-server token verify [TOKEN | -] [options]\n"
                           "\n"
                           "`token issue --help` and `token verify --help` say more.\n";

/* Runs the verb with `name` for argv[0], which getopt_long puts before its messages. */
static int run_verb(int (*verb)(int argc, char **argv), char *name, int argc, char **argv)
{
    char **own = malloc(((size_t)argc + 1) * sizeof *own);
    int status;

    if (!own) {
        fputs("token: out of memory\n", stderr);
        return EXIT_REFUSED;
    }
    memcpy(own, argv, ((size_t)argc + 1) * sizeof *own);
    own[0] = name;
    status = verb(argc, own);
    free(own);
    return status;
}

int cmd_token(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    static char issue[] = "token issue", verify[] = "token verify";
    struct log_text quoted;

    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        fputs(help, stdout);
        return EXIT_GOOD;
    }
    if (strcmp(verb, "issue") != 0 && strcmp(verb, "verify") != 0) {
        if (*verb)
            fprintf(stderr, "token: found %s, allowed are issue and verify\n",
                    log_quote(&quoted, slice_of(verb)));
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    if (token_init()) {
        fputs("token: libsodium does not start\n", stderr);
        return EXIT_REFUSED;
    }
    return strcmp(verb, "issue") == 0 ? run_verb(cmd_token_issue, issue, argc - 1, argv + 1)
                                      : run_verb(cmd_token_verify, verify, argc - 1, argv + 1);
}
