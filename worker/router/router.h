/*
 * The router: what becomes of each message that a session sends.
 *
 *   rate limit -> envelope_parse -> permission -> a command:  commands.c
 *                                              -> envelope_stamp -> a signal:  live.c
 *                                                                -> all else:  store.c, or live.c
 *                                                                   where no Redis is configured
 *
 * A message that fails a step is answered with `rejected`. The router keeps nothing from one
 * message to the next.
 */
#ifndef WORKER_ROUTER_H
#define WORKER_ROUTER_H

#include "worker/session/session.h"

/* A whole WebSocket message of a session; for conn_calls. payload is borrowed for the call. */
void router_message(struct conn *conn, enum ws_opcode opcode, struct slice payload);

#endif
