/*
 * Storing: mail, posts and receipts go into their recipients' mailboxes.
 *
 * The mailbox is the truth. Here a message is only appended; when all mailboxes have answered, the
 * ticket answers the sender and rings the doorbells (worker/router/doorbell.h).
 */
#ifndef WORKER_STORE_H
#define WORKER_STORE_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

/* Appends msg to the mailbox of each recipient, and a copy to the sender's own where other devices
 * want one. envelope->id is set. OK: the sender gets `accepted` or `rejected` later, in the order
 * of its messages. ERR_BAD with the reason in *fault: nothing was appended. */
enum err store_message(struct session *session, const struct envelope *envelope, struct msg *msg,
                       struct envelope_fault *fault);

#endif
