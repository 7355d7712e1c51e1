/*
 * One timer wheel for all sessions of a worker: a deadline costs two pointers, not a heap entry.
 *
 * Setting, moving and cancelling is O(1). A node whose deadline lies further than one revolution is
 * looked at once a revolution. Deadlines are met up to WHEEL_TICK_MS late, never early.
 */
#ifndef WORKER_WHEEL_H
#define WORKER_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_TICK_MS = 250, WHEEL_BUCKETS = 512 };

struct wheel_node {
    struct wheel_node *next, **at; /* at: the pointer that points here; NULL when not set */
    uint64_t due_ms;
};

typedef void (*wheel_cb)(struct wheel_node *node, uint64_t now_ms);

struct wheel {
    struct wheel_node *buckets[WHEEL_BUCKETS];
    uint64_t tick; /* the last one that was run */
    wheel_cb due;
};

/* now_ms: CLOCK_MONOTONIC. due is called for each node whose time has come, after it was taken out;
 * it may set it again, and may cancel others. */
void wheel_init(struct wheel *wheel, uint64_t now_ms, wheel_cb due);
/* Sets, or moves, the node (zeroed before its first use). */
void wheel_set(struct wheel *wheel, struct wheel_node *node, uint64_t due_ms);
void wheel_cancel(struct wheel_node *node);
void wheel_run(struct wheel *wheel, uint64_t now_ms);

#endif
