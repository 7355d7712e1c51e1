/*
 * The scripts as a worker loads them: the texts of worker/mailbox/lua/ behind two lines of the
 * worker's own.
 *
 * The first line is a comment with the worker's name. If workers shared texts, one worker's SCRIPT
 * LOAD in the middle of another worker's row of EVALSHA would make Redis carry out the rest of the
 * row before the commands that Redis had answered with NOSCRIPT.
 *
 * The second line holds the operator's limits as locals: MAX (messages in a mailbox), REJECT (a
 * full mailbox refuses more), AGE and DEDUPE (seconds), DEVICES (with a cursor in an address),
 * BYTES (of bodies in a mailbox), KNOWN (seconds that an address stays known; false: all addresses
 * get mail). A reload of the configuration makes new texts.
 */
#include "common/sha1.h"
#include "worker/mailbox/mailbox_lua.h"
#include "worker/mailbox/mailbox_parts.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const texts[SCRIPT_COUNT] = {
    [SCRIPT_APPEND] = mailbox_lua_append,
    [SCRIPT_APPEND_MANY] = mailbox_lua_append_many,
    [SCRIPT_OPEN] = mailbox_lua_open,
    [SCRIPT_ACK] = mailbox_lua_ack,
    [SCRIPT_PAGE] = mailbox_lua_page,
    [SCRIPT_THREAD] = mailbox_lua_thread,
    [SCRIPT_TICK] = mailbox_lua_tick,
    [SCRIPT_NEWEST] = mailbox_lua_newest,
    [SCRIPT_FORGET] = mailbox_lua_forget,
    [SCRIPT_LEASE] = mailbox_lua_lease,
    [SCRIPT_APPEND_NOTED] = mailbox_lua_append_noted,
    [SCRIPT_APPEND_READ] = mailbox_lua_append_read,
    [SCRIPT_ACK_ASKED] = mailbox_lua_ack_asked,
    [SCRIPT_DUE] = mailbox_lua_due,
    [SCRIPT_FIND_SENT] = mailbox_lua_find_sent,
    [SCRIPT_RECALL] = mailbox_lua_recall,
    [SCRIPT_JOIN] = mailbox_lua_join,
    [SCRIPT_SERVICE] = mailbox_lua_service,
    [SCRIPT_SPEND] = mailbox_lua_spend,
    [SCRIPT_LOOK] = mailbox_lua_look,
    [SCRIPT_PURGE] = mailbox_lua_purge,
    [SCRIPT_TRACE] = mailbox_lua_trace,
    [SCRIPT_REVOKE] = mailbox_lua_revoke,
    [SCRIPT_REVOKED] = mailbox_lua_revoked,
};

char *mailbox_script(enum script script, struct slice name, const struct retention *retention)
{
    struct buf comment;
    char *text = NULL, known[24] = "false";

    if (retention->known_s)
        snprintf(known, sizeof known, "%lld", (long long)retention->known_s);
    buf_init(&comment, 4096);
    mailbox_key(&comment, SLICE(""), name, ""); /* escaped: one line, whatever the name holds */
    if (asprintf(&text,
                 "--%s\nlocal MAX,REJECT,AGE,DEDUPE,DEVICES,BYTES,KNOWN="
                 "%lld,%s,%lld,%lld,%lld,%lld,%s\n%s",
                 buf_text(&comment), (long long)retention->messages_max,
                 retention->reject_full ? "true" : "false", (long long)retention->age_s,
                 (long long)retention->dedupe_s, (long long)retention->devices_max,
                 (long long)retention->bytes_max, known, texts[script]) < 0)
        text = NULL;
    buf_fini(&comment);
    return text;
}

void mailbox_script_sha(const char *text, char hex[SHA_HEX + 1])
{
    uint8_t digest[20];

    sha1(text, strlen(text), digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}
