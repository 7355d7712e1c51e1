/*
 * The clerk: the process that answers operators and backends by HTTP, at admin.listen.
 *
 * The clerk is a worker without clients: it has a slot in shared memory, rings, and connections to
 * Redis of its own, so a slow or broken clerk costs no session anything. worker.c makes the clerk
 * in the office of such a process.
 *
 * clerk.c decides who may ask for what; web.c speaks HTTP; each other file answers some paths.
 */
#ifndef WORKER_CLERK_H
#define WORKER_CLERK_H

#include "worker/session/office.h"

struct clerk;

/* A listening socket of admin.listen; the descriptor is borrowed. */
struct clerk_door {
    int fd;
    bool is_local;  /* a unix socket: whoever may open its file may do everything */
    bool is_secure; /* TLS, with the certificates of the service port */
};

/* Returns a clerk that answers from clerk_open on, owned by the caller; NULL: no memory or no
 * descriptors. control_fd: the socket to the master, borrowed. */
struct clerk *clerk_new(struct office *office, const struct clerk_door *doors, size_t door_count,
                        int control_fd);
/* The process serves: Redis is there, or is away for longer than a start waits. */
void clerk_open(struct clerk *clerk);
/* NULL is allowed. */
void clerk_free(struct clerk *clerk);
/* office->config is a new one. */
void clerk_configure(struct clerk *clerk);
/* A worker answers a question (worker/reach/inquiry.h). */
void clerk_told(struct clerk *clerk, uint64_t number, struct slice answer);
/* The master answers CONTROL_RELOAD. */
void clerk_reloaded(struct clerk *clerk, struct slice payload);
/* For the end of a turn, and for about once a second. */
void clerk_turn(struct clerk *clerk);
void clerk_beat(struct clerk *clerk);
/* Draining: accepts nothing more. True: no request is under way. */
bool clerk_leave(struct clerk *clerk);

#endif
