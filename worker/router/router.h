/*
 * The router: the only place that knows where a message goes.
 *
 * May it be sent, who is where, hand it over: to sessions here at once, to each other worker once
 * (worker/reach/reach.h), however many recipients a message has there. Mail is first put into its
 * recipients' mailboxes; their sessions are told when all of them have answered.
 */
#ifndef WORKER_ROUTER_H
#define WORKER_ROUTER_H

#include "worker/session/office.h"

/* A whole WebSocket message of a session; for conn_calls. */
void router_message(struct conn *conn, enum ws_opcode opcode, struct slice payload);
/* From another worker, for addresses here; for bus_events. Returns nothing: who is not here any
 * more is counted. */
void router_deliver(struct office *office, const struct slice *recipients, size_t recipient_count,
                    struct msg *msg);

#endif
