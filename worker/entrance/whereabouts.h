/*
 * A session's entry in the `:at` of its address (worker/mailbox/place.h): made, kept true, taken
 * out.
 */
#ifndef WORKER_WHEREABOUTS_H
#define WORKER_WHEREABOUTS_H

#include "worker/session/session.h"
#include "worker/mailbox/mailbox_enter.h"

/* Enters the session (again), and opens its mailbox: see mailbox_enter. Errors as there. */
enum err whereabouts_enter(struct session *session, mailbox_opened_cb done, void *arg);
/* The mailbox has been opened: takes the session's time in the order of the address's sessions. */
void whereabouts_entered(struct session *session, const struct mailbox_opened *opened);
/* The session's time in that order, as far as this host can say without Redis. CLOCK_MONOTONIC plus
 * the difference to the clock of Redis, in nanoseconds. */
uint64_t whereabouts_since_ns(const struct session *session);
/* The session is closing: its entry is removed, now or when Redis is back. */
void whereabouts_leave(struct session *session);
/* The mailboxes are up: removes the entries of sessions that ended while Redis was away. */
void whereabouts_up(struct office *office);
void whereabouts_fini(struct office *office);

#endif
