/*
 * Receipts (docs/protocol.md, section 5): who asked is told that a message was delivered, recalled
 * or has expired.
 *
 * What is owed stands in Redis from the moment in which it is owed (mailbox_receipts.h), so what is
 * done here may be cut off anywhere: another worker goes on.
 */
#ifndef WORKER_RECEIPTS_H
#define WORKER_RECEIPTS_H

#include "worker/mailbox/mailbox_receipts.h"
#include "worker/session/session.h"

/* Puts the receipt into the mailbox of who is owed it, rings its doorbell, settles it. */
void receipts_pay(struct office *office, const struct mailbox_owed *owed);
/* All of them. */
void receipts_pay_all(struct office *office, struct mailbox_debts *debts);

/* ---- what a session acknowledges ---- */

/* A message that asks for a receipt has been queued for it. */
void receipts_expect(struct session *session, struct seq seq);
/* `ack` of seq, before feed_acks_take hears of it. */
void receipts_note_ack(struct session *session, struct seq seq);
/* session->cursor has moved: it is stored; behind the receipts, when there are any. */
void receipts_store_cursor(struct session *session);
/* Redis is back. */
void receipts_retry(struct session *session);
/* The session ends, or its mailbox was lost. */
void receipts_forget(struct session *session);

#endif
