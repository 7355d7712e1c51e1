/*
 * The queue of unsent frames of one connection.
 *
 * An idle connection owns none of it: the lanes are taken from a pool with the first frame and go
 * back with the last. Frames leave by lane: the server's answers first, then messages by level, in
 * order within each, `goodbye` and close last. A frame that has partly left is always finished
 * first.
 */
#ifndef WORKER_OUTBOX_H
#define WORKER_OUTBOX_H

#include "common/err.h"
#include "common/msg.h"

#include <stdbool.h>
#include <stdint.h>

struct frame;
struct outbox_lanes;

/* The place of a stored message in its recipient's mailbox, told in front of it as `seq` (zero: it
 * has none), its number among those queued to this connection from that mailbox, and which mailbox
 * it is: 0 the session's own, else a group's log (groups/subscription.c). */
struct outbox_position {
    uint64_t ms, n, number;
    uint32_t feed;
};

struct outbox {
    struct outbox_lanes *lanes; /* NULL: nothing waits */
    struct frame *current;      /* has partly left */
    uint32_t current_sent;      /* bytes of its head and data that have */
    uint32_t answer_bytes;      /* of MSG_ANSWER: what the peer itself has caused */
    uint64_t bytes;             /* unsent, heads included */
    uint64_t signal_bytes;      /* of those, what may be shed */
    uint64_t mail_count;        /* of MSG_MAIL */
};

/* opcode of a message that is not a frame but bytes to be sent as they are (the 101 answer). */
enum { OUTBOX_RAW = 0xff };

/* Adds its own reference to msg, or copies it if it is a small answer. ERR_NOMEM. */
enum err outbox_put(struct outbox *outbox, struct msg *msg);
/* The same for a stored message, whose data begins with '{': it leaves as {"seq":"MS-N", and the
 * rest. */
enum err outbox_put_at(struct outbox *outbox, struct msg *msg, struct outbox_position position);
/* The oldest stored message of this feed that waits; zero: none does. */
struct outbox_position outbox_oldest(const struct outbox *outbox, uint32_t feed);
/* The same as a MSG_ANSWER with this payload, without making one where a copy will do. ERR_NOMEM.
 */
enum err outbox_answer(struct outbox *outbox, uint8_t opcode, struct slice payload);
/* Drops waiting signals of at most level_max, the lowest level first, within it the oldest first,
 * until at least `bytes` have been freed or none is left. Returns how many were dropped. */
unsigned outbox_shed(struct outbox *outbox, uint64_t bytes, int level_max);
/* Drops everything but what has partly left. */
void outbox_clear(struct outbox *outbox);
/* Drops everything. */
void outbox_fini(struct outbox *outbox);

enum outbox_result {
    OUTBOX_EMPTY,   /* everything has left */
    OUTBOX_BLOCKED, /* the socket takes no more now */
    OUTBOX_MORE,    /* a fair share has left, more waits */
    OUTBOX_BROKEN,  /* the socket is gone */
};
struct outbox_sent {
    /* Told of each stored message that has left whole, in the order of leaving; NULL: nobody asks.
     */
    void (*stored)(void *arg, struct outbox_position position);
    void *arg;
    uint64_t bytes;
    uint32_t messages; /* signals and mail that left whole */
    uint32_t answers;
};
/* Writes as much as the socket takes, in one writev (at most a few). Adds to *sent. */
enum outbox_result outbox_flush(struct outbox *outbox, int fd, struct outbox_sent *sent);

#endif
