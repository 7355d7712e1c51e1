/*
 * Of the sessions of one address, wherever they are: who has to give way.
 *
 * One order for all of them (session->since_ns), in which a session only ever turns out older ones.
 * Of two on different hosts the one that is entered into `:at` later sees the other, and that is so
 * again whenever a worker has lost Redis; so in the end exactly one of a device remains, whatever
 * came between.
 */
#ifndef WORKER_RIVALS_H
#define WORKER_RIVALS_H

#include "worker/session/session.h"

/* The session can be found; others are those that `:at` named when it was entered (none: Redis is
 * away). Older ones of the same device are turned out, then the oldest while there are more than
 * sessions.perAddress (at a service address only that, by sessions.perServiceAddress). False: it is
 * the session itself that had to go. */
bool rivals_meet(struct session *session, const struct at_session *others, size_t other_count);
/* The session is new: those of other devices on other hosts are told that they are not alone. */
void rivals_greet(struct session *session, const struct at_session *others, size_t other_count);
/* The bus was away: closes each session that a newer session of the same device, on this host, has
 * replaced meanwhile. */
void rivals_check_replaced(struct office *office);

#endif
