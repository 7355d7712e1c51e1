/*
 * `presence`: who of these addresses is connected, and on which devices, on all hosts.
 */
#ifndef WORKER_PRESENCE_H
#define WORKER_PRESENCE_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

/* The command. ERR_BAD: rejected, for the reason in fault. The answer may come later. */
enum err presence_run(struct session *session, const struct envelope *envelope,
                      struct envelope_fault *fault);

#endif
