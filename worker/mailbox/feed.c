#include "worker/mailbox/feed.h"

#include <assert.h>
#include <stdlib.h>

enum {
    PAGE_COUNT_FIRST = 32,
    PAGE_COUNT_MAX = 256,
    PAGE_BYTES = 64 * 1024, /* what a page should weigh */
};

/* ---- acknowledgements ---- */

static enum err runs_reserve(struct feed_acks *acks)
{
    uint32_t size = acks->size ? acks->size * 2 : 4;
    struct feed_run *runs;

    if (acks->count < acks->size)
        return OK;
    runs = realloc(acks->runs, size * sizeof *runs);
    if (!runs)
        return ERR_NOMEM;
    acks->runs = runs;
    acks->size = size;
    return OK;
}

static void runs_drop(struct feed_acks *acks, uint32_t count)
{
    acks->count -= count;
    memmove(acks->runs, acks->runs + count, acks->count * sizeof *acks->runs);
    if (acks->count == 0)
        feed_acks_fini(acks); /* an idle session owns nothing */
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
    if (runs_reserve(acks)) {
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

/* ---- feeding ---- */

static bool behind(const struct feed *feed)
{
    return seq_compare(feed->newest, feed->queued) > 0;
}

static enum feed_step read_on(struct feed *feed, bool has_room)
{
    feed->state = has_room ? FEED_READING : FEED_WAITING;
    feed->newest_when_asked = feed->newest;
    return has_room ? FEED_READ : FEED_WAIT;
}

static enum feed_step arrive(struct feed *feed)
{
    bool first = !feed->said_replayed;

    feed->state = FEED_LIVE;
    feed->said_replayed = true;
    return first ? FEED_REPLAYED : FEED_NOTHING;
}

enum feed_step feed_start(struct feed *feed, struct seq after, struct seq newest)
{
    *feed = (struct feed){ .queued = after, .newest = newest, .page_count = PAGE_COUNT_FIRST };
    /* Also when nothing lay behind it: a message that was stored after the mailbox was asked and
     * before this session could be found has rung no doorbell here. */
    return read_on(feed, true);
}

void feed_start_live(struct feed *feed, struct seq at)
{
    *feed = (struct feed){ .queued = at,
                           .newest = at,
                           .page_count = PAGE_COUNT_FIRST,
                           .state = FEED_LIVE,
                           .said_replayed = true };
}

bool feed_offer(struct feed *feed, struct seq seq, struct seq before, bool has_room,
                enum feed_step *step)
{
    *step = FEED_NOTHING;
    if (feed->state == FEED_IDLE || seq_compare(seq, feed->queued) <= 0)
        return false; /* not begun, or seen already */
    feed->newest = seq_max(feed->newest, seq);
    if (feed->state != FEED_LIVE)
        return false; /* what is being read, or will be, has it too */
    if (has_room && seq_compare(before, feed->queued) <= 0) {
        feed->queued = seq;
        return true;
    }
    *step = read_on(feed, has_room);
    return false;
}

enum feed_step feed_check(struct feed *feed, bool has_room)
{
    return feed->state == FEED_LIVE ? read_on(feed, has_room) : FEED_NOTHING;
}

/* Aims at pages of PAGE_BYTES. */
static void weigh(struct feed *feed, unsigned count, uint64_t bytes)
{
    uint64_t each = count ? bytes / count + 1 : 1, fits = PAGE_BYTES / each;

    if (count == 0)
        return;
    feed->page_count = (uint16_t)(fits < 1 ? 1 : fits > PAGE_COUNT_MAX ? PAGE_COUNT_MAX : fits);
}

enum feed_step feed_page(struct feed *feed, struct seq last, unsigned count, bool end,
                         uint64_t bytes, bool has_room)
{
    feed->queued = seq_max(feed->queued, last);
    weigh(feed, count, bytes);
    if (!end)
        return read_on(feed, has_room);
    /* Nothing lay behind it when it was read. What was heard of since may be newer; what was heard
     * of before and was not there has been removed. */
    if (behind(feed) && seq_compare(feed->newest, feed->newest_when_asked) > 0)
        return read_on(feed, has_room);
    feed->newest = feed->queued;
    return arrive(feed);
}

void feed_failed(struct feed *feed)
{
    if (feed->state == FEED_READING)
        feed->state = FEED_LIVE; /* feed_check sends it reading again */
}

enum feed_step feed_room(struct feed *feed)
{
    return feed->state == FEED_WAITING ? read_on(feed, true) : FEED_NOTHING;
}

void feed_fini(struct feed *feed)
{
    feed_acks_fini(&feed->acks);
}
