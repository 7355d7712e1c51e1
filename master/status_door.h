/*
 * The second way of `status` to the shared memory, for a server without root.
 *
 * Such a server hides its memory from other processes of its user (privileges_hide), and with the
 * memory /proc/PID/fd, by which status finds the memfd. So the master listens on a socket with a
 * name of its own in the abstract namespace, and gives a descriptor for reading to its own user and
 * to root. No byte is read from a visitor.
 */
#ifndef MASTER_STATUS_DOOR_H
#define MASTER_STATUS_DOOR_H

#include "shm/region.h"

#include <sys/types.h>

/* Returns the listening socket of this process, owned by the caller; -1 when it cannot be. */
int status_door_open(void);
/* Serves the visitors who wait, without waiting for any. */
void status_door_serve(int door_fd, const struct region *region);
/* In `status`: a descriptor of the shared memory of that master, owned by the caller; -1 with
 * errno. EPERM: another process has taken the name. */
int status_door_ask(pid_t master);

#endif
