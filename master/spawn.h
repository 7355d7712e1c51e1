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

/* start->control_fd and start->incarnation are filled in here. private_fds are the master's own:
 * the child closes them. A copy of another worker's control socket that stayed open in a sibling
 * would hide the master's death from that worker. ERR_SYSTEM with errno; nothing is left behind. */
enum err spawn_worker(const struct worker_start *start, const int *private_fds,
                      size_t private_count, struct spawned *spawned);

#endif
