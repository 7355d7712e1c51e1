/*
 * The listening sockets: made by the master and shared by all workers, so that a socket outlives
 * any worker. unix_socket.c knows what is particular about those of the file system.
 */
#ifndef MASTER_LISTENER_H
#define MASTER_LISTENER_H

#include "config/config.h"
#include "config/listen.h"
#include "master/unix_socket.h"

#include <stddef.h>
#include <stdint.h>

enum { LISTENERS_MAX = 2 * LISTEN_MAX };

struct listeners {
    int fds[LISTENERS_MAX]; /* non-blocking, close-on-exec; the plain ones first */
    struct unix_socket files[LISTEN_MAX];
    uint32_t count, file_count;
    uint32_t plain_count; /* the others speak TLS */
};

/* Binds and listens at a numeric address. Returns a non-blocking, close-on-exec socket, owned by
 * the caller; -1 with the reason in why. */
int listener_open_ip(const char *address, uint16_t port, int backlog, char *why, size_t why_size);
/* Opens all items of `listen`, and sslPort on each address among them, or none: ERR_SYSTEM with the
 * reason in why. */
enum err listeners_open(struct listeners *listeners, const struct config *config, char *why,
                        size_t why_size);
/* Closes the sockets; workers keep theirs, and the files stay. */
void listeners_close(struct listeners *listeners);
/* Removes the files of unix sockets, when they are still those of listeners_open. */
void listeners_remove(struct listeners *listeners);

#endif
