/*
 * How a reader follows a log (docs/protocol.md, section 5.2): first the replay, then live messages,
 * without a gap and without a repetition. Pure: the feed decides, reader.c carries the steps out.
 *
 * The one idea: the log is the truth and everything else a doorbell. A feed knows the newest
 * message that it has queued. A live message whose predecessor is not newer than that message is
 * the next one, and is queued at once. Any other live message (behind a gap, at a full queue,
 * during a replay) only tells that the log holds more: the feed reads the log on, a page at a time,
 * whenever there is room. So a slow client costs memory for a page, not for its backlog.
 */
#ifndef WORKER_FEED_H
#define WORKER_FEED_H

#include "common/seq.h"
#include "worker/mailbox/feed_acks.h"

#include <stdbool.h>
#include <stdint.h>

enum feed_state {
    FEED_IDLE,    /* not started */
    FEED_READING, /* a page has been asked for */
    FEED_WAITING, /* for room */
    FEED_LIVE,    /* at the end of the log, as far as the feed knows */
};

struct feed {
    struct seq queued;            /* every entry up to here has been queued or skipped */
    struct seq newest;            /* known to be in the log */
    struct seq newest_when_asked; /* `newest` when the page that is awaited was asked for */
    struct feed_acks acks;
    uint64_t numbers; /* messages queued so far */
    uint8_t state;
    bool has_replayed; /* the end of the log has been reached once */
    int8_t level;      /* the lowest of the backlog: `replayed` must not overtake the backlog */
};

/* What the owner of the feed does next. */
enum feed_step {
    FEED_NOTHING,
    FEED_READ,     /* ask for the page after feed->queued; then feed_page */
    FEED_WAIT,     /* call feed_room when there is room */
    FEED_REPLAYED, /* the backlog has been queued: tell the client */
};

/* Starts behind `after`; newest: the end of the log when the log was asked. The feed's acks must be
 * empty. */
enum feed_step feed_start(struct feed *feed, struct seq after, struct seq newest);
/* Starts at the end of the log, with nothing to replay: every message behind `at` will be offered.
 */
void feed_start_live(struct feed *feed, struct seq at);
/* A live message; before: the seq of its predecessor in the log; has_room: the queue takes the
 * message. Returns true when the message is the next one and is to be queued now; else the feed
 * only notes the message, and *step is what to do. */
bool feed_offer(struct feed *feed, struct seq seq, struct seq before, bool has_room,
                enum feed_step *step);
/* The log may hold more than was offered (doorbells may have been lost). */
enum feed_step feed_check(struct feed *feed, bool has_room);
/* A page has come, and its entries have been queued or skipped. last: the newest of the entries
 * (zero: there were none); end: the log held no more. */
enum feed_step feed_page(struct feed *feed, struct seq last, bool end, bool has_room);
/* The page that was asked for will not come. feed_check makes the feed read again. */
void feed_failed(struct feed *feed);
/* There is room again. */
enum feed_step feed_room(struct feed *feed);
/* A gap has been told, by a word that waits at this level. The kept messages are a backlog, whose
 * `replayed` overtakes neither the word nor the backlog. */
void feed_begin_replay(struct feed *feed, int8_t level);
/* Frees the acks; the rest stays. */
void feed_fini(struct feed *feed);

#endif
