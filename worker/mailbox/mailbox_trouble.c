/*
 * Errors of Redis: each is counted; the log has its words, once a second for each kind, so that an
 * error of every command does not flood the log and hides no other kind.
 */
#include "common/clock.h"
#include "common/log.h"
#include "worker/mailbox/mailbox_parts.h"

static const char *const kinds[TROUBLE_KINDS] = { "OOM",        "READONLY", "MISCONF",  "WRONGTYPE",
                                                  "BUSY",       "NOPERM",   "NOSCRIPT", "LOADING",
                                                  "MASTERDOWN", "" /* any other */ };

static unsigned kind_of(struct slice text)
{
    unsigned kind = 0;

    while (kind < TROUBLE_KINDS - 1 &&
           !(text.len && memmem(text.data, text.len, kinds[kind], strlen(kinds[kind]))))
        kind++;
    return kind;
}

void mailbox_trouble(struct mailbox *mailbox, struct slice text)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t *warned_ms = &mailbox->warned_ms[kind_of(text)];
    struct log_text quoted;

    mailbox->counts.errors++;
    if (*warned_ms && now_ms < *warned_ms + 1000)
        return;
    *warned_ms = now_ms;
    log_warn("mailbox_refused", "error=%s", log_quote(&quoted, text));
}
