/*
 * One timer wheel for all sessions of a worker: a deadline costs two pointers, not a heap entry.
 *
 * Setting, moving and cancelling is O(1). A node whose deadline is further away than one revolution
 * (128 s) is visited once a revolution. Callbacks run up to WHEEL_TICK_MS late, never early.
 */
#ifndef WORKER_WHEEL_H
#define WORKER_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_TICK_MS = 250, WHEEL_BUCKETS = 512 };

struct wheel_node {
    struct wheel_node *next, **at; /* at: the pointer to this node; NULL when not set */
    uint64_t due_ms;
};

typedef void (*wheel_cb)(struct wheel_node *node, uint64_t now_ms);

struct wheel {
    struct wheel_node *buckets[WHEEL_BUCKETS];
    uint64_t tick; /* the newest tick that was run */
    wheel_cb due;
};

/* now_ms: CLOCK_MONOTONIC. `due` is called for each node whose deadline has come, after the node
 * was taken out of the wheel; the callback may set any node, and cancel any. */
void wheel_init(struct wheel *wheel, uint64_t now_ms, wheel_cb due);
/* Sets or moves the node's deadline. The node is the caller's memory, zeroed before its first
 * use. */
void wheel_set(struct wheel *wheel, struct wheel_node *node, uint64_t due_ms);
void wheel_cancel(struct wheel_node *node);
void wheel_run(struct wheel *wheel, uint64_t now_ms);

#endif
