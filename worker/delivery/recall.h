/* The command `recall` (docs/protocol.md, sections 4 and 5). */
#ifndef WORKER_RECALL_H
#define WORKER_RECALL_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

/* As command_run: the answer follows when every recipient's mailbox has been looked at. */
enum err recall_command(struct session *session, const struct envelope *envelope,
                        struct envelope_fault *fault);

#endif
