/* Commands to the postmaster (docs/protocol.md, section 4): a type 4 message, its subject the verb.
 */
#ifndef WORKER_COMMANDS_H
#define WORKER_COMMANDS_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

/* `result` in the making, for the command with this id (data NULL: none): members are added to the
 * buffer, each with its own leading comma, and it is ended by postmaster_end. */
struct buf *command_begin_result(const struct session *session, struct slice id);
/* Carries it out and answers with `result`, or leaves the reason in *fault (ERR_BAD). */
enum err command_run(struct session *session, const struct envelope *envelope,
                     struct envelope_fault *fault);

#endif
