/*
 * Prints the text of a script exactly as a worker loads the text into Redis, limits included.
 *
 *     print_script NAME MESSAGES_MAX trim|reject AGE_S DEDUPE_S DEVICES_MAX BYTES_MAX KNOWN_S
 *
 * NAME is a file of worker/mailbox/lua/ without ".lua". The table tests beside this file call the
 * program; no test holds a text of its own.
 */
#include "worker/mailbox/mailbox_parts.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const names[] = {
    [SCRIPT_APPEND] = "append",
    [SCRIPT_APPEND_MANY] = "append_many",
    [SCRIPT_OPEN] = "open",
    [SCRIPT_ACK] = "ack",
    [SCRIPT_PAGE] = "page",
    [SCRIPT_THREAD] = "thread",
    [SCRIPT_TICK] = "tick",
    [SCRIPT_NEWEST] = "newest",
    [SCRIPT_FORGET] = "forget",
    [SCRIPT_LEASE] = "lease",
    [SCRIPT_APPEND_NOTED] = "append_noted",
    [SCRIPT_APPEND_READ] = "append_read",
    [SCRIPT_ACK_ASKED] = "ack_asked",
    [SCRIPT_DUE] = "due",
    [SCRIPT_FIND_SENT] = "find_sent",
    [SCRIPT_RECALL] = "recall",
    [SCRIPT_JOIN] = "join",
    [SCRIPT_SERVICE] = "service",
    [SCRIPT_SPEND] = "spend",
    [SCRIPT_LOOK] = "look",
    [SCRIPT_PURGE] = "purge",
    [SCRIPT_TRACE] = "trace",
    [SCRIPT_REVOKE] = "revoke",
    [SCRIPT_REVOKED] = "revoked",
};
_Static_assert(sizeof names / sizeof names[0] == SCRIPT_COUNT, "each script has a name here");

int main(int argc, char **argv)
{
    if (argc != 9) {
        fputs("usage: print_script NAME MESSAGES_MAX trim|reject AGE_S DEDUPE_S DEVICES_MAX "
              "BYTES_MAX KNOWN_S\n",
              stderr);
        return 2;
    }
    const struct retention retention = { .messages_max = strtoll(argv[2], NULL, 10),
                                         .reject_full = strcmp(argv[3], "reject") == 0,
                                         .age_s = strtoll(argv[4], NULL, 10),
                                         .dedupe_s = strtoll(argv[5], NULL, 10),
                                         .devices_max = strtoll(argv[6], NULL, 10),
                                         .bytes_max = strtoll(argv[7], NULL, 10),
                                         .known_s = strtoll(argv[8], NULL, 10) };

    for (unsigned i = 0; i < SCRIPT_COUNT; i++) {
        if (strcmp(names[i], argv[1]) != 0)
            continue;
        char *text = mailbox_script((enum script)i, SLICE("host:0:1"), &retention);
        if (!text)
            return 1;
        fputs(text, stdout);
        free(text);
        return 0;
    }
    fprintf(stderr, "print_script: no script is called %s\n", argv[1]);
    return 2;
}
