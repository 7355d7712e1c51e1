/*
 * The event loop of a worker; the only user of libevent.
 *
 * Gather, then act: callbacks of one turn only take in and queue; after all callbacks the turn's
 * hooks run (everything for Redis in one write, everything for a socket in one write). Descriptors
 * are watched with level triggering; a watch costs one `struct event`, no buffers.
 */
#ifndef WORKER_LOOP_H
#define WORKER_LOOP_H

#include "common/err.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;
/* Returns a loop, owned by the caller (loop_free); NULL when out of memory or descriptors. Call
 * after the fork: parent and child cannot share a loop. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);
/* Runs turns until loop_stop; returns at once when loop_stop was called before. May be called
 * again. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* CLOCK_MONOTONIC, read at most once a turn. */
uint64_t loop_now_ms(struct loop *loop);
/* The same reading of the clock, whole. */
uint64_t loop_now_ns(struct loop *loop);
/* Unix seconds, read once a turn. */
int64_t loop_unix_s(struct loop *loop);

enum { LOOP_READ = 1, LOOP_WRITE = 2 };
typedef void (*loop_fd_cb)(void *arg, int fd, unsigned events);
struct loop_watch {
    struct event event;
    loop_fd_cb callback;
    void *arg;
    unsigned events; /* LOOP_READ, LOOP_WRITE: watched now */
};
/* Starts watching fd for `events`, a sum of LOOP_READ and LOOP_WRITE, and calls `callback` with
 * `arg`. The watch is the caller's memory and must stay until loop_unwatch. ERR_SYSTEM: not
 * watched. */
enum err loop_watch(struct loop *loop, struct loop_watch *watch, int fd, unsigned events,
                    loop_fd_cb callback, void *arg);
/* Changes the watched events; 0 pauses. ERR_SYSTEM: the watch is paused. */
enum err loop_rewatch(struct loop *loop, struct loop_watch *watch, unsigned events);
void loop_unwatch(struct loop_watch *watch);
/* Calls the watch's callback in the next turn as if the descriptor were readable: bytes were read
 * ahead of it. For hooks alone, because a callback would run again in its own turn. */
void loop_read_again(struct loop_watch *watch);

typedef void (*loop_timer_cb)(void *arg);
struct loop_timer {
    struct event event;
    loop_timer_cb callback;
    void *arg;
};
/* Initialises a timer, the caller's memory, once before the other calls. */
void loop_timer_init(struct loop *loop, struct loop_timer *timer, loop_timer_cb callback,
                     void *arg);
/* Calls the timer's callback once, after delay_ms. Setting again moves the timer. */
void loop_timer_set(struct loop_timer *timer, uint64_t delay_ms);
void loop_timer_cancel(struct loop_timer *timer);

/* Adds a hook: hooks run at the end of each turn, in the order of loop_add_hook. At most 8. */
void loop_add_hook(struct loop *loop, void (*hook)(void *arg), void *arg);
/* Makes the next turn begin without waiting for events: a hook has left work over. */
void loop_again(struct loop *loop);

#endif
