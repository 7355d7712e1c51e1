/*
 * Sending the receipts that Redis has noted as owed (docs/protocol.md, section 5.9): "delivered",
 * "recalled" or "expired".
 *
 * A receipt is mail like any other: it is appended to its recipient's mailbox, the doorbell is
 * rung, and then the debt is settled in Redis. A worker that is killed in between leaves the debt
 * to another worker (delivery/expiry.h), which finds the receipt stored and rings again.
 */
#ifndef WORKER_PAYMENT_H
#define WORKER_PAYMENT_H

#include "worker/mailbox/mailbox_receipts.h"
#include "worker/session/office.h"

/* Appends the receipt, rings and settles. Without memory, or with Redis away, the receipt stays
 * owed. */
void payment_pay(struct office *office, const struct mailbox_owed *owed);
/* The same for each receipt that an answer of Redis names. */
void payment_pay_all(struct office *office, struct mailbox_debts *debts);

#endif
