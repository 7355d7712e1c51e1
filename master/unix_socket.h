/*
 * A listening unix socket and its file: mode, group, what to do with a file that is there already,
 * and the removal at the end.
 */
#ifndef MASTER_UNIX_SOCKET_H
#define MASTER_UNIX_SOCKET_H

#include "config/listen.h"

#include <stddef.h>
#include <sys/types.h>

struct unix_socket {
    char path[LISTEN_PATH_MAX];
    dev_t dev; /* of the file that unix_socket_open made */
    ino_t ino;
};

/* Binds and listens; the file has the item's mode and group before anybody can connect. The socket
 * of a server that has died is replaced; the socket of one that lives, or any other file, is an
 * error. Returns a non-blocking, close-on-exec socket, owned by the caller; -1 with the reason in
 * why. */
int unix_socket_open(const struct listen_item *item, int backlog, struct unix_socket *made,
                     char *why, size_t why_size);
/* Removes the file, unless another file has taken its place. */
void unix_socket_remove(const struct unix_socket *made);

#endif
