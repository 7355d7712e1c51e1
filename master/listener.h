/* The listening sockets: made by the master and shared by all workers, so that a socket outlives
 * any worker. */
#ifndef MASTER_LISTENER_H
#define MASTER_LISTENER_H

#include "config/config.h"

#include <stddef.h>
#include <stdint.h>

enum { LISTENERS_MAX = 2 };

struct listeners {
    int fds[LISTENERS_MAX]; /* non-blocking, close-on-exec; the plain ones first */
    uint32_t count;
    uint32_t plain_count; /* the others speak TLS */
};

/* Opens socketPort and sslPort, or none: ERR_SYSTEM with the reason in why. */
enum err listeners_open(struct listeners *listeners, const struct config *config, char *why,
                        size_t why_size);
void listeners_close(struct listeners *listeners);

#endif
