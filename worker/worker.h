/*
 * One worker: an event loop, its sessions, its Redis connections. Wires the rooms of worker/
 * together.
 *
 * The master forks and calls worker_run; nothing of the event loop, of Redis or of random state
 * exists before that fork.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "config/config.h"
#include "shm/region.h"

#include <stdbool.h>

/* A listening socket of admin.listen. */
struct worker_door {
    int fd;
    bool is_local;  /* a unix socket */
    bool is_secure; /* TLS */
};

struct worker_start {
    struct region *region;
    uint32_t slot;
    uint64_t incarnation;
    const int *listen_fds; /* shared by all workers, non-blocking, owned by the master */
    uint32_t listen_count, plain_count; /* the first plain_count are plain, the others speak TLS */
    const struct worker_door *admin_doors; /* of the clerk, owned by the master */
    size_t admin_count;                    /* not 0: the process is the clerk, and has no clients */
    struct tickets *tickets;               /* keys of TLS tickets, owned by the master */
    int control_fd;                        /* this worker's end of the socketpair, non-blocking */
    struct config *config; /* in force at the fork; the worker's own from then on, so that there is
                              no second copy of its secrets */
    const char *node;      /* this host's name */
};

/* Serves until told to drain, or until the master is gone. Returns the exit status: 0 after a
 * drain, WORKER_EXIT_FATAL when it could not start (the master then does not try again at once). */
enum { WORKER_EXIT_FATAL = 70 };
int worker_run(const struct worker_start *start);

/* `echo-test`: on 127.0.0.1:port, no token, no Redis: echoes text and binary messages up to 32 MiB
 * by the same codec and session code; compressed when `deflate` and the client offers it, with
 * contexts that last when `takeover`. chain and key, in PEM: over TLS; empty: plain. Returns the
 * exit status; ends on SIGTERM or SIGINT. */
int worker_echo_test(uint16_t port, bool deflate, bool takeover, struct slice chain,
                     struct slice key);

#endif
