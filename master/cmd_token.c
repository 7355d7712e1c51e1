/* `websocket-server token`: finds the verb; cmd_token_issue.c and cmd_token_verify.c do the work.
 */
#include "master/cmd_token.h"

#include "common/log.h"
#include "master/cmd_token_parts.h"
#include "worker/token/token.h"

#include <stdio.h>
#include <string.h>

static const char help[] = "Usage: websocket-server token issue --sub ADDRESS [options]\n"
                           "       websocket-server token verify [TOKEN | -] [options]\n"
                           "\n"
                           "`token issue --help` and `token verify --help` say more.\n";

int cmd_token(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
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
    return strcmp(verb, "issue") == 0 ? cmd_token_issue(argc - 1, argv + 1)
                                      : cmd_token_verify(argc - 1, argv + 1);
}
