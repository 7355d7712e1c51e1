/* Commands to the postmaster (docs/protocol.md, section 4): a type 4 message, its subject the verb.
 */
#ifndef WORKER_COMMANDS_H
#define WORKER_COMMANDS_H

#include "worker/envelope.h"
#include "worker/session.h"

/* Carries it out and answers with `result`, or leaves the reason in *fault (ERR_BAD). */
enum err command_run(struct session *session, const struct envelope *envelope,
                     struct envelope_fault *fault);

#endif
