/* Opening a non-blocking, close-on-exec stream socket to a server of ours. Knows nothing of what is
 * said on it. */
#ifndef WORKER_DIAL_H
#define WORKER_DIAL_H

#include "common/err.h"

#include <stdint.h>

/* OK with *fd, connecting or connected already: wait until it is writable, then ask dial_result.
 * ERR_SYSTEM: at once refused; errno says how. ERR_BAD: the path is too long for an address. */
enum err dial_unix(const char *path, int *fd);
/* The same by TCP. A host that has several addresses is tried one address an attempt, in turn.
 * A numeric host never blocks; a name is looked up with getaddrinfo, which may. ERR_ABSENT: no such
 * name. */
enum err dial_tcp(const char *host, uint16_t port, unsigned attempt, int *fd);
/* Once fd is writable: 0 when it is connected, else the errno. */
int dial_result(int fd);

#endif
