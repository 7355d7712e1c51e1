/*
 * The rules of watching workers, as pure functions: the state goes in, the decision comes out.
 * crew.c acts.
 *
 * A seat is a worker slot as the master sees it. A worker that dies unasked is replaced in its own
 * seat, which remembers how fast its occupants have been dying.
 */
#ifndef MASTER_SUPERVISOR_H
#define MASTER_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_FATAL_MS = 1000, /* the first wait after WORKER_EXIT_FATAL */
    BACKOFF_MAX_MS = 30000,
    LIFE_SHORT_MS = 5000,    /* a shorter life makes the next wait longer */
    LIFE_GOOD_MS = 30000,    /* a life this long resets the wait */
    REPLACE_WAIT_MS = 10000, /* for a replacement's CONTROL_READY */
    ABORT_GRACE_MS = 2000,   /* from SIGABRT to SIGKILL */
};

struct exit_report {
    bool asked; /* was told to leave, or has a replacement */
    bool fatal; /* WORKER_EXIT_FATAL */
    uint64_t life_ms;
    uint32_t backoff_ms; /* the seat's, before this exit; 0: none */
};
struct exit_decision {
    bool restart;
    uint32_t delay_ms;
    uint32_t backoff_ms; /* the seat's from now on */
};
struct exit_decision supervisor_decide(const struct exit_report *report);

enum seat_state {
    SEAT_EMPTY,
    SEAT_WAITING,  /* waits for due_ms to be filled */
    SEAT_STARTING, /* forked, not ready yet */
    SEAT_SERVING,
    SEAT_DRAINING, /* told to leave */
};
struct seat_view {
    enum seat_state state;
    bool leaving; /* has a replacement in another seat, and leaves when that one serves */
};
enum seat_action { SEAT_KEEP, SEAT_OPEN, SEAT_LEAVE };
/* Fills actions with the steps that make the number of workers `wanted`: opens the lowest free
 * seats, or drains the highest. */
void supervisor_balance(const struct seat_view *seats, size_t count, uint32_t wanted,
                        enum seat_action *actions);

/* May the old worker leave, given the state of its replacement and how long that has been awaited?
 * A worker whose replacement keeps dying stays: an old worker serves better than none. */
bool supervisor_may_leave(enum seat_state replacement, uint64_t waited_ms);

enum watchdog_action { WATCHDOG_FINE, WATCHDOG_ABORT, WATCHDOG_KILL };
struct pulse {
    uint64_t now_ms;
    uint64_t beat_ms;  /* the worker's last sign of life */
    uint64_t since_ms; /* silence before this time does not count: the worker's start, or the end of
                          the machine's sleep */
    uint64_t aborted_ms; /* when SIGABRT was sent; 0: not */
    uint64_t limit_ms;   /* 0: no watchdog */
};
enum watchdog_action supervisor_watch(const struct pulse *pulse);

#endif
