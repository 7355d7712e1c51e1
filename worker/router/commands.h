/*
 * Commands to the postmaster (docs/protocol.md, section 4.7): messages of type 4 whose subject
 * names the command.
 *
 * One table leads from the subject to the function. A command answers with one `result`, perhaps
 * later, or is rejected. Commands that belong to a room below (presence, recall, groups) live
 * there.
 */
#ifndef WORKER_COMMANDS_H
#define WORKER_COMMANDS_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

/* Runs the command that envelope->subject names. OK: the session gets a `result`, perhaps later.
 * ERR_BAD: rejected, with the reason in *fault. envelope must be a command
 * (envelope_is_command) from an address that the session may speak for. */
enum err command_run(struct session *session, const struct envelope *envelope,
                     struct envelope_fault *fault);

#endif
