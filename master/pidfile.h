/*
 * The pid file: its lock, not its text, says that a server runs.
 *
 * The lock (an open file description lock) is held for the master's life and goes with it however
 * it dies, so a number left behind by a dead master is never taken for a running one.
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

/* Creates and locks it, writes our pid. ERR_EXISTS: another server holds it. A symbolic link, or a
 * file that holds anything but a pid, is not touched: ERR_BAD. why says what is wrong. */
enum err pidfile_take(struct pidfile *pidfile, const char *path, char *why, size_t why_size);
/* Removes it, then lets the lock go. One that was never taken is allowed. */
void pidfile_leave(struct pidfile *pidfile);
/* Who holds it? OK with *pid; ERR_ABSENT: there is none; ERR_DOWN: it was left behind by a dead
 * server; ERR_SYSTEM. Takes no lock itself, so it cannot disturb a server that starts meanwhile. */
enum err pidfile_read(const char *path, pid_t *pid);
/* Where it lies when the config names none: /run for root, else $XDG_RUNTIME_DIR; NULL: nowhere.
 * The caller's to free. */
char *pidfile_default_path(int64_t port);

#endif
