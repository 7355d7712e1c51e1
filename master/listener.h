/* The one listening socket: made by the master and shared by all workers, so that the socket
 * outlives any worker. */
#ifndef MASTER_LISTENER_H
#define MASTER_LISTENER_H

#include <stddef.h>
#include <stdint.h>

/* Binds to a numeric address and listens. Returns a non-blocking, close-on-exec socket, owned by
 * the caller; -1 with the reason in why. */
int listener_open(const char *address, uint16_t port, char *why, size_t why_size);

#endif
