/*
 * Text that clients' compressed messages turn into: an address has limits.inflatedBytesPerSecond of
 * it on a worker, over all its sessions.
 *
 * The one idea: a message is never refused for what it costs to inflate, because it has been
 * inflated by then, and a client that sends on would cost as much again. The address's sessions are
 * read later instead, so the messages that wait stay compressed, in the client's own socket.
 *
 * Sessions that wait go on one a turn: an address of many sessions takes no longer turn than one.
 */
#ifndef WORKER_INFLATION_H
#define WORKER_INFLATION_H

#include "worker/session/session.h"

/* Before the first byte of a session is read: a new session brings its address no text more. */
void inflation_begin(struct session *session);
/* For conn_calls: counts the text, and stops reading from the session when it was too much. */
void inflation_note(struct conn *conn, uint64_t bytes);
/* The end of a turn: one session whose address may go on is read again. */
void inflation_turn(struct office *office);
/* The session closes: the peer's close frame is read. */
void inflation_end(struct session *session);

#endif
