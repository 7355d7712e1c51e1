/*
 * Finds the running server that a command line means, and its shared memory.
 *
 * --pid-file and --pid name one; --config, --env and --config-dir name one by its configuration;
 * without any of these the server is the one that runs, wherever its files lie (status_door.h).
 */
#ifndef MASTER_FIND_SERVER_H
#define MASTER_FIND_SERVER_H

#include "master/options.h"
#include "shm/region.h"

/* Returns 0 with the pid of the master, or an exit status, with the reason on standard error. */
int find_server(const struct options *options, pid_t *pid);
/* Returns the master's shared memory, mapped for reading, owned by the caller (region_close); NULL
 * with an exit status in *status, and the reason on standard error. */
struct region *find_region(pid_t pid, int *status);

#endif
