/*
 * The master's signals arrive through a descriptor, so nothing ever runs in a handler and none is
 * lost between a check and a wait. They are blocked from the first moment of `serve` on, so one
 * that comes during the start is answered as soon as the loop runs.
 */
#ifndef MASTER_SIGNALS_H
#define MASTER_SIGNALS_H

#include <stdbool.h>

void signals_block(void);
/* The signalfd for what signals_block blocked; -1 with errno. */
int signals_open(void);

struct signals_seen {
    unsigned stop; /* how many SIGTERM and SIGINT */
    bool child, reload, reopen_log;
};
/* Everything that has come since the last call. */
struct signals_seen signals_read(int fd);

/* In a new worker: what concerns the master alone is ignored, SIGTERM ends it until its own loop
 * takes over, nothing is blocked. */
void signals_reset_in_worker(void);
/* In the process that waits for the daemon: as before signals_block. */
void signals_unblock(void);

#endif
