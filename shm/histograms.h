/*
 * Histograms of times: a row a worker beside the worker's counters (shm/stats.h), written by that
 * worker alone, summed on reading. The master adds the histograms of a dead worker to a page of the
 * master's own, so sums never go back.
 *
 * The bounds of the buckets are powers of two in seconds, so a bucket is found without a table and
 * without a division by a variable: two words are written for each time.
 */
#ifndef SHM_HISTOGRAMS_H
#define SHM_HISTOGRAMS_H

#include "shm/stats.h"

enum histogram_id {
    HISTOGRAM_REDIS_ROUND_TRIP, /* a command leaves for Redis, to the turn of its answer */
    HISTOGRAM_ACCEPT,           /* a message comes in, to its `accepted` */
    HISTOGRAM_DELIVERY,         /* an append, to the message's leaving for a session's socket */
    HISTOGRAM_LOOP_LAG,         /* how late the tick of the event loop is */
    HISTOGRAM_TLS_HANDSHAKE,    /* a connection is accepted, to the end of the TLS handshake */
    HISTOGRAM_COUNT
};

enum {
    HISTOGRAM_EXPONENT_MIN = -14, /* the first bound: 2^-14 s, 61 µs */
    HISTOGRAM_EXPONENT_MAX = 4,   /* the last bound: 16 s */
    HISTOGRAM_BOUNDS = HISTOGRAM_EXPONENT_MAX - HISTOGRAM_EXPONENT_MIN + 1,
    HISTOGRAM_BUCKETS = HISTOGRAM_BOUNDS + 1, /* the last one has no bound */
};

/* A copy, for readers. Bucket i has the times above bound i - 1, and at most bound i. */
struct histogram_view {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t sum_ns;
};

/* Counts one time in the worker's own row. */
void histogram_add(struct stats_row *row, enum histogram_id id, uint64_t ns);
/* Returns the index of the bucket of a time. */
unsigned histogram_bucket(uint64_t ns);
/* Returns bound i in seconds, exactly; i < HISTOGRAM_BOUNDS. */
double histogram_bound_s(unsigned i);
/* The sum over all workers, the dead included. */
void histogram_sum(const struct region *region, enum histogram_id id, struct histogram_view *view);
/* Of the worker that lives in the slot now. */
void histogram_of_worker(const struct region *region, uint32_t slot, enum histogram_id id,
                         struct histogram_view *view);

#endif
