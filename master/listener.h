/* The one listening socket: made by the master, shared by all workers, so that it outlives any of
 * them. */
#ifndef MASTER_LISTENER_H
#define MASTER_LISTENER_H

#include <stddef.h>
#include <stdint.h>

/* Binds and listens on a numeric address. Non-blocking, close-on-exec. -1 with the reason in why.
 */
int listener_open(const char *address, uint16_t port, char *why, size_t why_size);

#endif
