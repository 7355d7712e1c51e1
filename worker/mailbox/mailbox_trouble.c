/*
 * Errors of Redis: each is counted; the log has its words, once a second for each kind, so that an
 * error of every command does not flood the log and hides no other kind. READONLY is also told to
 * the owner of the connection, who finds the new master.
 */
#include "common/log.h"
#include "worker/mailbox/mailbox_parts.h"
#include "worker/redis/redis_error.h"

static const char *kind_of(struct slice text)
{
    static const char *const kinds[] = { "OOM",    "READONLY", "MISCONF", "WRONGTYPE", "BUSY",
                                         "NOPERM", "NOSCRIPT", "LOADING", "MASTERDOWN" };

    for (size_t i = 0; text.len && i < sizeof kinds / sizeof kinds[0]; i++)
        if (memmem(text.data, text.len, kinds[i], strlen(kinds[i])))
            return kinds[i];
    return "other";
}

void mailbox_trouble(struct mailbox *mailbox, struct slice text)
{
    const char *kind = kind_of(text);
    struct log_text quoted;

    mailbox->counts.errors++;
    if (strcmp(kind, "READONLY") == 0)
        redis_demoted(mailbox->redis, false);
    log_rarely(LOG_WARN, kind, "mailbox_refused", "error=%s", redis_error_quote(&quoted, text));
}
