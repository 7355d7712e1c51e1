/*
 * Acknowledgements of one reader (docs/protocol.md, section 5.6): which messages have left and are
 * not acknowledged, and how far an `ack` moves the cursor. Pure.
 *
 * The one idea: messages mostly leave in the order of the log, so a run (the first and the last seq
 * of messages that left one behind the other) stands for any number of them. A message of a higher
 * level that overtakes begins a new run, so runs never overlap.
 *
 * The cursor must never pass a message that is not acknowledged: the message would be lost to the
 * device.
 */
#ifndef WORKER_FEED_ACKS_H
#define WORKER_FEED_ACKS_H

#include "common/seq.h"

#include <stdbool.h>
#include <stdint.h>

enum { FEED_RUNS_MAX = 256 };

struct feed_run {
    struct seq first, last;
    uint64_t last_number; /* of `last`, in the order of queueing: 1, 2, 3, … */
};

struct feed_acks {
    struct feed_run *runs; /* unacknowledged, in the order of leaving; NULL: none */
    uint32_t count, size;
    struct seq forgotten; /* the oldest message without a run: it stays unacknowledged */
};

/* A message has left; number counts the messages of this reader in the order of queueing. A message
 * without room for its run (more than FEED_RUNS_MAX, or no memory) stays unacknowledged, and is
 * replayed to the next session of the device. */
void feed_acks_sent(struct feed_acks *acks, struct seq seq, uint64_t number);
/* Returns the index of the run that holds seq; acks->count when the message was not sent or is
 * acknowledged already. An ack of seq covers all runs before that run, and that run up to seq. */
uint32_t feed_acks_find(const struct feed_acks *acks, struct seq seq);
/* The client acknowledges what left up to and including `seq`. unsent_first: the oldest message
 * that is queued and has not left (zero: none). Returns false when no message that was sent is
 * meant; else *cursor is the newest seq at or below which every message is acknowledged. */
bool feed_acks_take(struct feed_acks *acks, struct seq seq, struct seq unsent_first,
                    struct seq *cursor);
/* Frees the runs; `forgotten` stays. */
void feed_acks_fini(struct feed_acks *acks);

#endif
