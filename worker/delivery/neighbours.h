/*
 * The other workers of this host, as far as their doorbells go.
 *
 * A doorbell is a PUBLISH, and two things lose one that nobody here can see: the worker that rang
 * died (Redis drops what a dead client had written and was not read yet), or the connection that it
 * rang by broke (STAT_doorbells_lost). The message is in the mailbox, but the sessions here were
 * not told. So whoever finds that one of the two has happened looks into all its mailboxes.
 *
 * It only reads shared memory; nobody is asked anything.
 */
#ifndef WORKER_NEIGHBOURS_H
#define WORKER_NEIGHBOURS_H

#include "shm/region.h"

#include <stdbool.h>
#include <stdint.h>

struct neighbours {
    uint64_t incarnations[WORKERS_MAX]; /* as last seen; 0: nobody was there */
    uint64_t restarts;                  /* workers that died unasked, however short they lived */
    uint64_t doorbells_lost;            /* of all workers together */
};

/* Once a second: since the last call, may a doorbell for a session of this worker have been lost?
 * (Whatever was stored before it was lost can be read now.) */
bool neighbours_failed(struct neighbours *neighbours, const struct region *region);

#endif
