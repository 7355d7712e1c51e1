/*
 * The master's signals arrive through a descriptor, so no code ever runs in a handler, and no
 * signal is lost between a check and a wait. Signals are blocked from the first moment of `serve`
 * on: a signal during the start is answered as soon as the loop runs.
 */
#ifndef MASTER_SIGNALS_H
#define MASTER_SIGNALS_H

#include <stdbool.h>

void signals_block(void);
/* Returns the signalfd for the signals that signals_block blocked, owned by the caller; -1 with
 * errno. */
int signals_open(void);

struct signals_seen {
    unsigned stop; /* number of SIGTERM and SIGINT */
    bool child, reload, reopen_log;
};
/* Returns the signals that have come since the last call. */
struct signals_seen signals_read(int fd);

/* In a new worker: signals for the master alone are ignored, SIGTERM ends the worker until its own
 * loop takes over, no signal is blocked. */
void signals_reset_in_worker(void);
/* In the process that waits for the daemon: undoes the blocking of signals_block. */
void signals_unblock(void);

#endif
