/*
 * The other workers of this host, as far as their doorbells go.
 *
 * A doorbell is a PUBLISH. Two failures lose a doorbell without a sign on this worker: the worker
 * that rang died (Redis drops commands of a dead client that it has not read yet), or the
 * connection of that worker to Redis broke (STAT_doorbells_lost). The message is in the mailbox,
 * but the sessions here were not told. A worker that notices such a failure reads on in all its
 * mailboxes.
 *
 * Only shared memory is read; no other process is asked.
 */
#ifndef WORKER_NEIGHBOURS_H
#define WORKER_NEIGHBOURS_H

#include "shm/region.h"

#include <stdbool.h>
#include <stdint.h>

struct neighbours {
    uint64_t incarnations[WORKERS_MAX]; /* as last seen; 0: the slot was free */
    uint64_t restarts;                  /* of workers that died unasked, however short they lived */
    uint64_t doorbells_lost;            /* of all workers together */
};

/* Once a second: may a doorbell for a session of this worker have been lost since the last call?
 * (The message of such a doorbell is stored already, so reading on finds it.) */
bool neighbours_failed(struct neighbours *neighbours, const struct region *region);

#endif
