/*
 * The queue of unsent frames of one connection.
 *
 * An idle connection owns no lanes: they come from a pool with the first frame and go back with the
 * last. Frames leave by lane: the server's answers first, then messages by level, in order within
 * each, `goodbye` and close last. A frame that has partly left is always finished first.
 */
#ifndef WORKER_OUTBOX_H
#define WORKER_OUTBOX_H

#include "common/err.h"
#include "common/msg.h"

#include <stdbool.h>
#include <stdint.h>

struct frame;
struct outbox_lanes;
struct tls;

/* The longest text of outbox_position.log: `"log":"NAME",` with a name of 255 bytes, all escaped.
 */
enum { OUTBOX_LOG_MAX = 2 * (size_t)255 + sizeof "\"log\":\"\"," - 1 };

/* The position of a stored message in a log, which leaves as `seq` in front of the message (ms and
 * n zero: none); the message's number among those that were queued to this connection from that
 * log; and the log: feed 0 is the session's own mailbox, another feed a group's log
 * (groups/subscription.c). log: the text that leaves behind `seq` and names the group's log
 * (`"log":"NAME",`, at most OUTBOX_LOG_MAX bytes), borrowed; NULL: the session's own mailbox. */
struct outbox_position {
    uint64_t ms, n, number;
    uint32_t feed;
    bool live; /* queued as news of its append, not read from a log */
    struct msg *log;
};

struct outbox {
    struct outbox_lanes *lanes; /* NULL: nothing waits */
    struct frame *current;      /* the frame that has partly left; NULL: none */
    uint32_t current_sent;      /* bytes of current that have left */
    uint32_t answer_bytes;      /* unsent bytes of MSG_ANSWER: the peer itself has caused them */
    uint64_t bytes;             /* unsent, heads included */
    uint64_t signal_bytes;      /* unsent bytes of MSG_SIGNAL, which may be shed */
    uint64_t mail_count;        /* unsent frames of MSG_MAIL */
};

/* The opcode of a message whose bytes are sent as they are, without a frame's head (the 101 answer,
 * a run of answers). */
enum { OUTBOX_RAW = 0xff };

/* Queues msg: takes a reference, or copies a small answer. ERR_NOMEM. */
enum err outbox_put(struct outbox *outbox, struct msg *msg);
/* The same for a stored message, whose data begins with '{' and which leaves as {"seq":"MS-N",
 * position.log, and the rest. Takes a reference of position.log. A compressed message has no first
 * byte to be replaced: the position leaves before it as a stored block. */
enum err outbox_put_at(struct outbox *outbox, struct msg *msg, struct outbox_position position);
/* Returns the oldest stored message of this feed that waits; zero when none waits. */
struct outbox_position outbox_oldest(const struct outbox *outbox, uint32_t feed);
/* Returns the level at which a word (MSG_MAIL without a position) leaves behind all messages of
 * this feed, and all words, that wait: the lowest of their levels. When none waits, the highest
 * level, so that the word leaves before all that is queued later. */
int8_t outbox_level_behind(const struct outbox *outbox, uint32_t feed);
/* Queues a MSG_ANSWER with this payload, without making a message where a copy suffices.
 * ERR_NOMEM. */
enum err outbox_answer(struct outbox *outbox, uint8_t opcode, struct slice payload);
/* Drops waiting signals of at most level_max, the lowest level first, the oldest of a level first,
 * until at least `bytes` have been freed or none is left. Returns how many were dropped. */
unsigned outbox_shed(struct outbox *outbox, uint64_t bytes, int level_max);
/* Drops all frames except one that has partly left. */
void outbox_clear(struct outbox *outbox);
/* As outbox_clear, but answers and control frames stay. */
void outbox_clear_messages(struct outbox *outbox);
/* Drops all frames. */
void outbox_fini(struct outbox *outbox);

enum outbox_result {
    OUTBOX_EMPTY,   /* nothing waits */
    OUTBOX_BLOCKED, /* the socket takes no more now */
    OUTBOX_MORE,    /* a fair share has left, more waits */
    OUTBOX_BROKEN,  /* the socket is gone */
};
struct outbox_sent {
    /* Called for each stored message that has left whole, in the order of leaving. May be NULL. */
    void (*stored)(void *arg, struct outbox_position position);
    /* Called for each message on its way out, in the order of leaving: returns what leaves instead,
     * a reference, or NULL: the message leaves as it is. head: the bytes that take the place of the
     * message's first byte; empty: none. A message returned must have MSG_FORM_IN_ORDER. NULL: all
     * messages leave as they are. */
    struct msg *(*pack)(void *arg, struct msg *msg, struct slice head);
    void *arg;
    uint64_t bytes;
    uint32_t messages; /* signals and mail that left whole */
    uint32_t answers;
};
/* Writes as much as the socket takes, usually in one sendmsg. tls NULL: plain. Adds to *sent. */
enum outbox_result outbox_flush(struct outbox *outbox, int fd, struct tls *tls,
                                struct outbox_sent *sent);

#endif
