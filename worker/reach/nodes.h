/*
 * The workers of other hosts: which of them live, by their leases in Redis.
 *
 * Each worker renews its own lease every second and learns of the others by the answer; whoever
 * comes says hello. Mail does not depend on it (an append says where its recipient is); it decides
 * whether signals and `presence` have to ask Redis at all, and whose sessions are ghosts.
 *
 * By the same way hosts tell each other that doorbells were lost, as neighbours.h does on one: a
 * worker that died had perhaps stored mail that it could not ring for, and so had one whose
 * connection broke. Redis counts that, and who sees the count move looks into all its mailboxes.
 */
#ifndef WORKER_NODES_H
#define WORKER_NODES_H

#include "worker/session/office.h"
#include "worker/mailbox/place.h"

struct nodes;

struct nodes_events {
    void (*known)(void *arg); /* the first answer has come; once */
    void (*lost)(void *arg);  /* doorbells for sessions here may have been lost, on another host */
    void *arg;
};

/* For an office with a mailbox, which is borrowed. NULL when out of memory. */
struct nodes *nodes_new(struct office *office, const struct nodes_events *events);
/* NULL is allowed. */
void nodes_free(struct nodes *nodes);
/* The mailboxes are up (again), or hellos may have been missed: the lease is renewed, and whatever
 * is asked of Redis after this is answered when it is known who lives. */
void nodes_renew(struct nodes *nodes);
/* The same, unless one is on its way; each second, and to be up to date. */
void nodes_beat(struct nodes *nodes);
/* This worker leaves: others need not wait for the end of its lease. */
void nodes_leave(struct nodes *nodes);
/* The other workers' first answer has come. NULL: there are none to be known. */
bool nodes_known(const struct nodes *nodes);

/* Another worker has said that it is there; for bus_events. */
void nodes_hello(struct nodes *nodes, struct slice place);
/* Does a worker of another host live? NULL: no. */
bool nodes_any(const struct nodes *nodes);
/* How many do. */
uint32_t nodes_count(const struct nodes *nodes);
/* Does that one? */
bool nodes_live(const struct nodes *nodes, struct slice place);

enum nodes_where {
    NODES_HERE, /* a worker of this host, whom the session table knows better */
    NODES_GONE, /* one of this host that is dead */
    NODES_AWAY, /* of another host, or of an earlier run of this one: whether it lives is not known
                 */
};
enum nodes_where nodes_where(const struct nodes *nodes, struct slice place);

#endif
