#include "worker/mailbox/standing.h"

#include <stdio.h>

bool standing_since_read(struct standing_since *since, struct slice text)
{
    *since = (struct standing_since){ .now = slice_equal(text, SLICE("now")) };
    since->given = since->now || (text.data && seq_parse(text, &since->seq));
    return since->given || !text.data;
}

void standing_since_epoch(struct standing_since *since, struct slice epoch)
{
    if (epoch.len < sizeof since->epoch)
        snprintf(since->epoch, sizeof since->epoch, "%.*s", (int)epoch.len,
                 epoch.data ? epoch.data : "");
    else
        memcpy(since->epoch, "?", 2);
}

struct seq standing_begin(struct seq cursor, const struct mailbox_opened *opened)
{
    if (seq_compare(opened->lost, opened->last) > 0)
        return cursor; /* damaged */
    return seq_max(cursor, opened->lost);
}

struct standing standing_judge(const char *epoch, const struct standing_since *since,
                               const struct mailbox_opened *opened)
{
    struct standing standing = { .last = opened->last, .epoch = epoch, .recovered = true };
    bool epoch_known = since->given ? !*since->epoch || strcmp(since->epoch, epoch) == 0
                                    : !opened->known_device || opened->cursor_epoch_ok;

    if (since->now) {
        standing.cursor = standing.begin = opened->last;
        return standing;
    }
    standing.cursor = since->given ? since->seq : opened->cursor;
    if (!epoch_known || seq_compare(standing.cursor, opened->last) > 0) {
        standing.recovered = false; /* the position is of other data */
        standing.cursor = (struct seq){ 0 };
    } else if (seq_compare(opened->lost, standing.cursor) > 0) {
        standing.recovered = false; /* retention has removed messages behind the position */
    }
    standing.begin = standing_begin(standing.cursor, opened);
    return standing;
}
