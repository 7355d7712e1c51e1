/*
 * A session's entry in the `:at` of its address (worker/mailbox/place.h): made, kept true, taken
 * out.
 */
#ifndef WORKER_WHEREABOUTS_H
#define WORKER_WHEREABOUTS_H

#include "worker/session/session.h"

/* Enters it (again), and asks its mailbox where it stands: mailbox_enter. */
enum err whereabouts_enter(struct session *session, mailbox_opened_cb done, void *arg);
/* The answer: its place in the order of the address's sessions. */
void whereabouts_entered(struct session *session, const struct mailbox_opened *opened);
/* Where it stands in the order as far as can be said without Redis. */
uint64_t whereabouts_since_ns(const struct session *session);
/* The session has ended. What cannot be written down now is, when Redis is back. */
void whereabouts_leave(struct session *session);
/* The mailboxes are up. */
void whereabouts_up(struct office *office);
void whereabouts_fini(struct office *office);

#endif
