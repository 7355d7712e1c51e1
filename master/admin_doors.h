/*
 * The listening sockets of admin.listen: made by the master before privileges drop, used by the
 * clerk alone.
 */
#ifndef MASTER_ADMIN_DOORS_H
#define MASTER_ADMIN_DOORS_H

#include "config/config.h"
#include "config/listen.h"
#include "master/unix_socket.h"
#include "worker/worker.h"

#include <stddef.h>

struct admin_doors {
    struct worker_door doors[LISTEN_MAX]; /* non-blocking, close-on-exec */
    struct unix_socket files[LISTEN_MAX];
    size_t count, file_count;
};

/* Opens all items of admin.listen, or none: ERR_SYSTEM with the reason in why. pid_file: beside it
 * lies the socket of the item "unix:"; NULL: there is none, and the item is left out, logged. */
enum err admin_doors_open(struct admin_doors *doors, const struct config *config,
                          const char *pid_file, char *why, size_t why_size);
/* Closes the sockets, and removes the files that are still those of admin_doors_open. */
void admin_doors_close(struct admin_doors *doors);
/* The path of the socket beside a pid file: .admin in place of .pid. False: too long. */
bool admin_doors_path(const char *pid_file, char path[LISTEN_PATH_MAX]);

#endif
