/*
 * The budget of a sender's address: how many bytes and how many new mailboxes its sessions may
 * store (limits.storedBytesPerSecond, limits.storedBytesBurst, limits.newMailboxesPerMinute),
 * whichever worker and host they are at.
 *
 * The one idea: a worker has a bucket of its own for each address, and charges the shared bucket in
 * Redis with what was stored once that is worth a question (a MiB, or a sixteenth of the bucket);
 * the answer then is the truth. So plain mail costs no further round trip, and workers disagree by
 * no more than that. A message is taken while the bucket is not empty, and may leave a debt, so no
 * legal message is refused for ever. The account outlives the session, so a reconnect fills
 * nothing.
 */
#ifndef WORKER_BUDGET_H
#define WORKER_BUDGET_H

#include "worker/session/session.h"

#include <stddef.h>

struct budget;

/* Charges the account of the session's address for storing a message: `bytes` of bodies in all, to
 * `recipients` mailboxes. Returns 0 and the account with a hold for budget_release, or NULL (no
 * limit, or no memory) in *budget; else the milliseconds after which the message is taken, with
 * nothing charged. */
uint32_t budget_take(struct session *session, uint64_t bytes, size_t recipients,
                     struct budget **budget);
/* A message has begun a mailbox that no message and no session had. NULL is allowed. */
void budget_note_mailbox(struct budget *budget);
/* NULL is allowed. */
void budget_release(struct budget *budget);
/* Once a second: accounts that are full again are forgotten. */
void budget_beat(struct office *office);
void budget_free(struct office *office);

#endif
