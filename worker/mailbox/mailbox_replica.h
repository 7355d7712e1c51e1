/*
 * Durability "replica": an append is reported only when enough replicas have it too.
 */
#ifndef WORKER_MAILBOX_REPLICA_H
#define WORKER_MAILBOX_REPLICA_H

#include "worker/mailbox/row.h"

/* The append was answered and now waits for the replicas: copies the places of its answer. */
void mailbox_replica_hold(struct append *append);
/* The end of a turn in which appends were sent: asks the replicas. The answer reports every append
 * that waits. */
void mailbox_replica_ask(struct mailbox *mailbox);

#endif
