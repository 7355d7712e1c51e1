/*
 * Doorbells: telling sessions that a message lies in their mailbox, with the message in hand.
 *
 * Only a doorbell: whoever does not hear it reads the mailbox. To sessions here at once, to each
 * other worker once, however many of the recipients it has.
 */
#ifndef WORKER_DOORBELL_H
#define WORKER_DOORBELL_H

#include "worker/session/office.h"
#include "worker/reach/remote.h"

/* remote: the workers of other hosts, as the mailboxes have said. skip_device: sessions of it are
 * not told; data NULL: none. */
void doorbell_ring(struct office *office, const struct doorbell *stored, struct remote *remote,
                   struct slice skip_device, struct msg *msg);
/* Another worker has rung; for bus_events. Who is not here any more is counted. */
void doorbell_heard(struct office *office, const struct slice *recipients,
                    const struct bus_position *positions, size_t recipient_count,
                    struct slice skip_device, struct msg *msg);

#endif
