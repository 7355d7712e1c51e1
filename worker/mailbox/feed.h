/*
 * How one session is fed from its mailbox (docs/protocol.md, section 5): replay, then live, without
 * gap or repetition; and what its acknowledgements mean.
 *
 * The one idea: the mailbox is the truth and everything else a doorbell. A feed knows the newest
 * message it has queued. A live message that follows right behind it is queued at once; anything
 * else (a gap, a full queue, a session that is still replaying) only says that there is more, and
 * the feed reads on from the mailbox, a page at a time, whenever its connection has room. So a slow
 * client costs a page, not its backlog.
 *
 * Pure of Redis: it asks through calls, so it is tested alone.
 */
#ifndef WORKER_FEED_H
#define WORKER_FEED_H

#include "common/err.h"
#include "common/seq.h"

#include <stdbool.h>
#include <stdint.h>

enum { FEED_RUNS_MAX = 256 };

/* Messages that left one behind the other just as they lie in the mailbox; where one of higher
 * level overtook, a new run begins. So runs never overlap, and one is enough as long as all have
 * one level. */
struct feed_run {
    struct seq first, last;
    uint64_t last_number; /* as queued: 1, 2, 3, … */
};

struct feed_acks {
    struct feed_run *runs; /* unacknowledged, in the order of leaving */
    uint32_t count, size;
    struct seq
        forgotten; /* the oldest that there was no room to remember: it stays unacknowledged */
};

enum feed_state {
    FEED_IDLE,    /* no mailbox (yet) */
    FEED_READING, /* a page has been asked for */
    FEED_WAITING, /* for room in the connection */
    FEED_LIVE,    /* at the mailbox's end as far as is known */
};

struct feed {
    struct seq queued; /* everything up to here has been queued, or was not for this session */
    struct seq newest; /* known to be in the mailbox */
    struct seq newest_when_asked; /* the same, when the page that is awaited was asked for */
    struct feed_acks acks;
    uint8_t state;
    bool said_replayed;
    int8_t level;        /* the lowest of the backlog: `replayed` must not overtake any of it */
    uint64_t numbers;    /* messages queued so far */
    uint16_t page_count; /* entries to ask for next: grows and shrinks with what they weigh */
};

/* ---- acknowledgements, pure ---- */

/* A message has left; number is its place in the order of queueing. What cannot be remembered (more
 * than FEED_RUNS_MAX runs, or no memory) stays unacknowledged for this session, and comes again. */
void feed_acks_sent(struct feed_acks *acks, struct seq seq, uint64_t number);
/* The run that the message lies in; acks->count: it was not sent, or is acknowledged. An ack of it
 * covers the runs before that one whole, and that one up to it. */
uint32_t feed_acks_find(const struct feed_acks *acks, struct seq seq);
/* The client acknowledges up to and including the sending of `seq`. unsent_first: the oldest that
 * is queued and has not left (zero: none). Returns false when nothing that was sent is meant; else
 * *cursor is the newest seq below or at which nothing is unacknowledged. */
bool feed_acks_take(struct feed_acks *acks, struct seq seq, struct seq unsent_first,
                    struct seq *cursor);
void feed_acks_fini(struct feed_acks *acks);

/* ---- feeding, pure ---- */

enum feed_step {
    FEED_NOTHING,  /* nothing to do now */
    FEED_READ,     /* ask for feed->page_count entries after feed->queued */
    FEED_WAIT,     /* ask the connection to tell when it has room */
    FEED_REPLAYED, /* say `replayed`: the backlog has been sent */
};

/* Starts behind `after`; newest is what the mailbox held when it was asked. */
enum feed_step feed_start(struct feed *feed, struct seq after, struct seq newest);
/* Starts at the end, with nothing to replay: everything behind `at` will be offered. */
void feed_start_live(struct feed *feed, struct seq at);
/* A live message. Returns true when it is the next one and is to be queued now (has_room: the
 * connection's queue takes it); otherwise it is only noted and *step says what to do. */
bool feed_offer(struct feed *feed, struct seq seq, struct seq before, bool has_room,
                enum feed_step *step);
/* The mailbox may hold more than was heard of (the doorbell was away). */
enum feed_step feed_check(struct feed *feed, bool has_room);
/* A page has come, and its entries have been queued or skipped: last is the newest of them (zero:
 * there were none), bytes what they weigh. */
enum feed_step feed_page(struct feed *feed, struct seq last, unsigned count, bool end,
                         uint64_t bytes, bool has_room);
/* A page did not come: Redis is away; feed_check when it is back. */
void feed_failed(struct feed *feed);
/* The connection has room again. */
enum feed_step feed_room(struct feed *feed);
void feed_fini(struct feed *feed);

#endif
