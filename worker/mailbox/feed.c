#include "worker/mailbox/feed.h"

static bool is_behind(const struct feed *feed)
{
    return seq_compare(feed->newest, feed->queued) > 0;
}

static enum feed_step next_page(struct feed *feed, bool has_room)
{
    feed->state = has_room ? FEED_READING : FEED_WAITING;
    feed->newest_when_asked = feed->newest;
    return has_room ? FEED_READ : FEED_WAIT;
}

static enum feed_step reach_end(struct feed *feed)
{
    bool first = !feed->has_replayed;

    feed->state = FEED_LIVE;
    feed->has_replayed = true;
    return first ? FEED_REPLAYED : FEED_NOTHING;
}

enum feed_step feed_start(struct feed *feed, struct seq after, struct seq newest)
{
    *feed = (struct feed){ .queued = after, .newest = newest };
    /* A page is read even when newest is not behind `after`: a message that was stored after the
     * log was asked, and before the session could be found, has rung no doorbell here. */
    return next_page(feed, true);
}

void feed_start_live(struct feed *feed, struct seq at)
{
    *feed = (struct feed){ .queued = at, .newest = at, .state = FEED_LIVE, .has_replayed = true };
}

bool feed_offer(struct feed *feed, struct seq seq, struct seq before, bool has_room,
                enum feed_step *step)
{
    *step = FEED_NOTHING;
    if (feed->state == FEED_IDLE || seq_compare(seq, feed->queued) <= 0)
        return false; /* not begun, or queued already */
    feed->newest = seq_max(feed->newest, seq);
    if (feed->state != FEED_LIVE)
        return false; /* the page that is read now, or a later page, holds the message too */
    if (has_room && seq_compare(before, feed->queued) <= 0) {
        feed->queued = seq;
        return true;
    }
    *step = next_page(feed, has_room);
    return false;
}

enum feed_step feed_check(struct feed *feed, bool has_room)
{
    return feed->state == FEED_LIVE ? next_page(feed, has_room) : FEED_NOTHING;
}

enum feed_step feed_page(struct feed *feed, struct seq last, bool end, bool has_room)
{
    feed->queued = seq_max(feed->queued, last);
    if (!end)
        return next_page(feed, has_room);
    /* The page ended the log when Redis read the page. A message that was offered since may lie
     * behind that end. A message that was offered before and is not in the page has been removed:
     * without the second comparison the feed would ask for that message forever. */
    if (is_behind(feed) && seq_compare(feed->newest, feed->newest_when_asked) > 0)
        return next_page(feed, has_room);
    feed->newest = feed->queued;
    return reach_end(feed);
}

void feed_failed(struct feed *feed)
{
    if (feed->state == FEED_READING)
        feed->state = FEED_LIVE; /* feed_check makes the feed read again */
}

enum feed_step feed_room(struct feed *feed)
{
    return feed->state == FEED_WAITING ? next_page(feed, true) : FEED_NOTHING;
}

void feed_begin_replay(struct feed *feed, int8_t level)
{
    if (feed->has_replayed)
        feed->level = 0;
    feed->has_replayed = false;
    if (level < feed->level)
        feed->level = level;
}

void feed_fini(struct feed *feed)
{
    feed_acks_fini(&feed->acks);
}
