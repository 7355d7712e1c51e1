/*
 * The receipts that a session of a service address owes by acknowledging (docs/protocol.md,
 * section 5).
 *
 * As receipts.h, but message by message: what a service session acknowledges is no range.
 */
#ifndef WORKER_SERVICE_RECEIPTS_H
#define WORKER_SERVICE_RECEIPTS_H

#include "worker/session/session.h"

/* These asked for a receipt and are acknowledged. To be called before Redis is told of the
 * acknowledgement itself: should both be lost, they come again, and so does this. ERR_NOMEM. */
enum err service_receipts_owe(struct session *session, const struct seq *seqs, size_t count);
/* Once a second: what Redis did not answer is asked again. */
void service_receipts_retry(struct office *office);
/* After the mailbox is gone. */
void service_receipts_fini(void);

#endif
