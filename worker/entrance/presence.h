/*
 * The command `presence`: which devices of some addresses are connected, on all hosts.
 */
#ifndef WORKER_PRESENCE_H
#define WORKER_PRESENCE_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

/* Runs the command. OK: the session gets a `result`, perhaps later: with an empty list for an
 * address without a session. ERR_BAD: rejected, with the reason in *fault. */
enum err presence_run(struct session *session, const struct envelope *envelope,
                      struct envelope_fault *fault);

#endif
