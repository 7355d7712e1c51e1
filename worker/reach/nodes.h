/*
 * The workers of other hosts: which of them live, by their leases in Redis.
 *
 * Each worker renews its own lease every second; the answer names all workers that live. A worker
 * that comes publishes a hello to the others. Mail does not need this table, for the answer to an
 * append says where the recipient has sessions. The table decides whether signals and `presence`
 * have to ask Redis at all, and which entries of `:at` are ghosts.
 *
 * The lease also carries lost doorbells from host to host, as neighbours.h does on one host: a
 * worker that died, or whose connection broke, may have stored mail without ringing. Redis counts
 * these losses, and a worker that sees the count move reads all of its sessions' mailboxes.
 */
#ifndef WORKER_NODES_H
#define WORKER_NODES_H

#include "worker/session/office.h"
#include "worker/mailbox/place.h"

struct nodes;

struct nodes_events {
    void (*known)(void *arg); /* the first answer has come; called once */
    void (*lost)(void *arg);  /* another host may have lost doorbells for sessions of this worker */
    void *arg;
};

/* The office is borrowed and must have a mailbox. NULL when out of memory. */
struct nodes *nodes_new(struct office *office, const struct nodes_events *events);
/* NULL is allowed. */
void nodes_free(struct nodes *nodes);
/* Renews the lease. For the moment when the mailboxes are up (again), or when hellos may have been
 * missed: an answer to any later question comes after the answer that says who lives. */
void nodes_renew(struct nodes *nodes);
/* Renews the lease unless a renewal is on its way. Call once a second. */
void nodes_beat(struct nodes *nodes);
/* This worker ends: its lease ends now, so that others need not wait. NULL is allowed. */
void nodes_leave(struct nodes *nodes);
/* Has the first answer come? NULL (no Redis is configured): true, there is nothing to know. */
bool nodes_known(const struct nodes *nodes);

/* For bus_events: the worker of this place has said that it lives. NULL is allowed. */
void nodes_hello(struct nodes *nodes, struct slice place);
/* Does any worker of another host live? NULL: no. */
bool nodes_any(const struct nodes *nodes);
/* How many workers of other hosts live. NULL: 0. */
uint32_t nodes_count(const struct nodes *nodes);
/* Returns the place of the n-th of them; data NULL at the end. Lasts until the loop runs again. */
struct slice nodes_place(const struct nodes *nodes, uint32_t n);
/* Does the worker of another host at this place live? NULL: no. */
bool nodes_live(const struct nodes *nodes, struct slice place);

enum nodes_where {
    NODES_HERE, /* a living worker of this host; the session table knows its sessions better */
    NODES_GONE, /* a dead worker of this host */
    NODES_AWAY, /* a worker of another host, or of an earlier run of this host, dead or alive */
};
/* What the place says by itself, without the table of those that live. */
enum nodes_where nodes_where(const struct nodes *nodes, struct slice place);

#endif
