/*
 * The command `recall` (docs/protocol.md, section 5.11): a sender takes a message back from the
 * mailboxes in which no device has acknowledged it.
 */
#ifndef WORKER_RECALL_H
#define WORKER_RECALL_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

/* ERR_BAD: rejected, the reason is in fault. Else the answer follows when every recipient's mailbox
 * has answered. */
enum err recall_command(struct session *session, const struct envelope *envelope,
                        struct envelope_fault *fault);

#endif
