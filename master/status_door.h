/*
 * How `status` and `reload` find running servers, and their second way to the shared memory.
 *
 * Each master listens on a socket in the abstract namespace whose name has the master's pid. The
 * kernel lists these names, drops a name with its process, and vouches for pid and user: no file
 * can be left behind, and no folder must be known.
 *
 * A server without root hides its memory from other processes of its user (privileges_hide), and
 * with the memory /proc/PID/fd, by which status finds the memfd. So the master gives a descriptor
 * for reading to its own user and to root. No byte is read from a visitor.
 */
#ifndef MASTER_STATUS_DOOR_H
#define MASTER_STATUS_DOOR_H

#include "shm/region.h"

#include <sys/types.h>

/* Returns the listening socket of this process, owned by the caller; -1 when it cannot be. */
int status_door_open(void);
/* Serves the visitors who wait, without waiting for any. */
void status_door_serve(int door_fd, const struct region *region);
struct door_owner {
    pid_t pid;
    uid_t uid;
};
/* Returns how many masters have a door in this network namespace, with the first max of them in
 * found. */
size_t status_door_find(struct door_owner *found, size_t max);
/* In `status`: a descriptor of the shared memory of that master, owned by the caller; -1 with
 * errno. EPERM: another process has taken the name. */
int status_door_ask(pid_t master);

#endif
