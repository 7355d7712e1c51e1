#include "worker/mailbox/feed_acks.h"

#include "common/grow.h"

#include <assert.h>
#include <stdlib.h>

static void runs_drop(struct feed_acks *acks, uint32_t count)
{
    acks->count -= count;
    memmove(acks->runs, acks->runs + count, acks->count * sizeof *acks->runs);
    if (acks->count == 0)
        feed_acks_fini(acks); /* an idle session owns no memory for runs */
}

static void runs_forget_oldest(struct feed_acks *acks)
{
    struct seq first;

    assert(acks->runs && acks->count);
    first = acks->runs[0].first;
    if (seq_is_zero(acks->forgotten) || seq_compare(first, acks->forgotten) < 0)
        acks->forgotten = first;
    runs_drop(acks, 1);
}

void feed_acks_sent(struct feed_acks *acks, struct seq seq, uint64_t number)
{
    struct feed_run *newest = acks->count ? &acks->runs[acks->count - 1] : NULL;

    if (newest && number == newest->last_number + 1) {
        newest->last = seq;
        newest->last_number = number;
        return;
    }
    if (acks->count == FEED_RUNS_MAX)
        runs_forget_oldest(acks);
    if (grow_reserve(&acks->runs, &acks->size, acks->count + 1, 4, FEED_RUNS_MAX)) {
        if (seq_is_zero(acks->forgotten) || seq_compare(seq, acks->forgotten) < 0)
            acks->forgotten = seq;
        return;
    }
    assert(acks->runs);
    acks->runs[acks->count++] = (struct feed_run){ seq, seq, number };
}

uint32_t feed_acks_find(const struct feed_acks *acks, struct seq seq)
{
    uint32_t i = 0;

    while (i < acks->count &&
           (seq_compare(seq, acks->runs[i].first) < 0 || seq_compare(seq, acks->runs[i].last) > 0))
        i++;
    return i;
}

/* zero: none. */
static void take_older(struct seq *oldest, struct seq seq)
{
    if (!seq_is_zero(seq) && (seq_is_zero(*oldest) || seq_compare(seq, *oldest) < 0))
        *oldest = seq;
}

bool feed_acks_take(struct feed_acks *acks, struct seq seq, struct seq unsent_first,
                    struct seq *cursor)
{
    uint32_t found = feed_acks_find(acks, seq);
    struct seq highest = seq;         /* acknowledged */
    struct seq oldest = unsent_first; /* unacknowledged; zero: none */

    if (found == acks->count)
        return false;
    for (uint32_t i = 0; i < found; i++)
        highest = seq_max(highest, acks->runs[i].last);
    acks->runs[found].first = seq_next(seq);
    take_older(&oldest, acks->forgotten);
    runs_drop(acks, found + (seq_compare(seq, acks->runs[found].last) >= 0));
    for (uint32_t i = 0; i < acks->count; i++)
        take_older(&oldest, acks->runs[i].first);
    *cursor =
        seq_is_zero(oldest) || seq_compare(highest, oldest) < 0 ? highest : seq_previous(oldest);
    return true;
}

void feed_acks_fini(struct feed_acks *acks)
{
    free(acks->runs);
    acks->runs = NULL;
    acks->count = acks->size = 0;
}
