/*
 * Durability "replica": an append is reported only when enough replicas have it too.
 */
#ifndef WORKER_MAILBOX_REPLICA_H
#define WORKER_MAILBOX_REPLICA_H

#include "worker/mailbox/row.h"

/* The append was answered and now waits for the replicas: copies the places of its answer. */
void mailbox_replica_hold(struct append *append);
/* The end of a turn, while appends are not confirmed: begins a round, when none is under way. */
void mailbox_replica_ask(struct mailbox *mailbox);
/* Each second: reports appends that nothing can confirm in time. */
void mailbox_replica_tick(struct mailbox *mailbox);
/* The connection of the appends is lost: appends that wait for the replicas are sent again. */
void mailbox_replica_lost(struct mailbox *mailbox);

#endif
