/*
 * The receipts that a session of a service address owes by acknowledging (docs/protocol.md,
 * section 5.14).
 *
 * As delivery/receipts.h, but message by message: the messages that a service session acknowledges
 * are no range of the mailbox.
 */
#ifndef WORKER_SERVICE_RECEIPTS_H
#define WORKER_SERVICE_RECEIPTS_H

#include "worker/session/session.h"

struct service;

/* The messages at these positions asked for a receipt and are acknowledged. To be called before
 * Redis is told of the acknowledgement itself: should both be lost, the messages come again, and so
 * does this call. ERR_NOMEM. */
enum err service_receipts_owe(struct session *session, const struct seq *seqs, size_t count);
/* Once a second: questions that Redis did not answer are asked again. */
void service_receipts_retry(struct office *office);
/* The mailbox is gone, so no answer comes any more. */
void service_receipts_fini(struct service *service);

#endif
