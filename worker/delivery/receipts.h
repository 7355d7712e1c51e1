/*
 * What a session's acknowledgements owe to senders (docs/protocol.md, section 5.9): a sender may
 * ask to be told that its message was delivered.
 *
 * An ack of messages that ask for a receipt goes to Redis as ranges, together with the cursor.
 * Redis notes each receipt as owed in the same moment (mailbox/mailbox_receipts.h), so this worker
 * may end anywhere: another worker sends the receipt. How a receipt is sent: delivery/payment.h.
 */
#ifndef WORKER_RECEIPTS_H
#define WORKER_RECEIPTS_H

#include "worker/session/session.h"

/* A message at seq that asks for a receipt has been queued for the session. */
void receipts_expect(struct session *session, struct seq seq);
/* The session acknowledges up to seq. To be called before feed_acks_take, which forgets the runs.
 */
void receipts_note_ack(struct session *session, struct seq seq);
/* session->cursor has moved: the cursor is stored, behind the receipts when there are any. */
void receipts_store_cursor(struct session *session);
/* Redis is back: a question without an answer is asked again. */
void receipts_retry(struct session *session);
/* The session ends, or its mailbox was lost. */
void receipts_forget(struct session *session);

#endif
