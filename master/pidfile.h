/*
 * The pid file: its lock, not its text, says that a server runs.
 *
 * The master holds the lock (an open file description lock) all its life, and the kernel drops the
 * lock however the master dies. So a pid left behind by a dead master is never taken for a running
 * server.
 */
#ifndef MASTER_PIDFILE_H
#define MASTER_PIDFILE_H

#include "common/err.h"

#include <stdint.h>
#include <sys/types.h>

struct pidfile {
    char *path; /* NULL: none */
    int fd;     /* -1: none */
};

/* Creates and locks the file, and writes this process's pid. ERR_EXISTS: another server holds the
 * lock. ERR_BAD: a symbolic link, or a file with anything but a pid, which is not touched.
 * ERR_NOMEM, ERR_SYSTEM. why says what is wrong. */
enum err pidfile_take(struct pidfile *pidfile, const char *path, char *why, size_t why_size);
/* Removes the file, then drops the lock. A pidfile that was never taken is allowed. */
void pidfile_leave(struct pidfile *pidfile);
/* Finds the server that holds the lock. OK with *pid; ERR_ABSENT: there is no file; ERR_DOWN: a
 * dead server left the file behind; ERR_SYSTEM. Takes no lock, and so cannot disturb a server that
 * starts meanwhile. */
enum err pidfile_read(const char *path, pid_t *pid);
/* Returns the path when the config names none: in /run for root, else in $XDG_RUNTIME_DIR. Owned by
 * the caller (free); NULL: no such directory, or out of memory. */
char *pidfile_default_path(int64_t port);

#endif
