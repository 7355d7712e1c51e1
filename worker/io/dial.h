/* Opens a non-blocking, close-on-exec stream socket to Redis. Knows nothing of the protocol on the
 * socket. */
#ifndef WORKER_DIAL_H
#define WORKER_DIAL_H

#include "common/err.h"

#include <stdint.h>

/* OK with *fd, owned by the caller, connecting or connected already: wait until the socket is
 * writable, then call dial_result. ERR_SYSTEM with errno: refused at once. ERR_BAD: the path is too
 * long for an address. */
enum err dial_unix(const char *path, int *fd);
/* The same by TCP. Of a host with several addresses, each attempt tries the next. A numeric host
 * never blocks; a name is resolved with getaddrinfo, which may block. ERR_ABSENT: no such name. */
enum err dial_tcp(const char *host, uint16_t port, unsigned attempt, int *fd);
/* Once fd is writable: returns 0 when the socket is connected, else the errno. */
int dial_result(int fd);

#endif
