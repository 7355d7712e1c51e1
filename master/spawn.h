/* The fork, and everything a worker process does before worker_run. */
#ifndef MASTER_SPAWN_H
#define MASTER_SPAWN_H

#include "common/err.h"
#include "worker/worker.h"

#include <sys/types.h>

struct spawned {
    pid_t pid;
    int control_fd; /* the master's end, non-blocking */
};

/* Forks a worker of *start with a control_fd and an incarnation of its own. OK with *spawned;
 * ERR_SYSTEM with errno, with nothing left behind. private_fds are the master's own, which the
 * child closes: a copy of another worker's control socket in a sibling would hide the master's
 * death from that worker. */
enum err spawn_worker(const struct worker_start *start, const int *private_fds,
                      size_t private_count, struct spawned *spawned);

#endif
