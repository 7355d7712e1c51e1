/*
 * Rivals: which sessions of one address, on all hosts, have to give way.
 *
 * All sessions of an address have one order (session->since_ns), and a session turns out only older
 * sessions. Of two sessions on different hosts, the session that enters `:at` later sees the other.
 * A worker that had lost Redis enters its sessions again, and they look again. So in the end
 * exactly one session of a device remains, whatever came between.
 */
#ifndef WORKER_RIVALS_H
#define WORKER_RIVALS_H

#include "worker/mailbox/place.h"
#include "worker/session/session.h"

/* The session can be found now. others: the sessions that `:at` named when the session was entered
 * (none: Redis is away). Turns out older sessions of the same device, then the oldest sessions
 * while the address has more than sessions.perAddress. A service address has no devices to compare,
 * and sessions.perServiceAddress. Returns false when this session itself had to go. */
bool rivals_meet(struct session *session, const struct at_session *others, size_t other_count);
/* The session is new: sessions of other devices on other hosts learn that they are not alone, and
 * from then on send copies of their mail. */
void rivals_greet(struct session *session, const struct at_session *others, size_t other_count);
/* The bus was away: closes each session that a newer session of the same device, on this host, has
 * replaced meanwhile. */
void rivals_check_replaced(struct office *office);

#endif
