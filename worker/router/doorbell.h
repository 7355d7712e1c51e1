/*
 * The fan-out of stored messages: sessions are told that a message lies in their mailbox, with the
 * message in hand. Sessions here are told at once, each other worker once, however many of the
 * recipients the worker has.
 *
 * The mailbox is the truth, and this is only its doorbell: a session that misses a doorbell reads
 * the mailbox later. So a lost doorbell is counted, never repeated.
 */
#ifndef WORKER_DOORBELL_H
#define WORKER_DOORBELL_H

#include "worker/session/office.h"
#include "worker/reach/remote.h"

/* For office->ring. remote: the workers of other hosts, as the mailboxes named them. skip_device:
 * its sessions are not told; data NULL: all are. */
void doorbell_ring(struct office *office, const struct doorbell *stored, struct remote *remote,
                   struct slice skip_device, struct msg *msg);
/* Another worker has rung; for bus_events. A recipient that is not here any more is counted. */
void doorbell_heard(struct office *office, const struct slice *recipients,
                    const struct bus_position *positions, size_t recipient_count,
                    struct slice skip_device, struct msg *msg);

#endif
