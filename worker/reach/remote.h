/*
 * One message for sessions on other hosts: the workers that get a PUBLISH, and the recipients at
 * each of them.
 *
 * A worker gets one PUBLISH, however many of the recipients have sessions there. When nobody hears
 * the PUBLISH, the place is removed from the `:at` of these recipients.
 */
#ifndef WORKER_REMOTE_H
#define WORKER_REMOTE_H

#include "worker/reach/bus.h"
#include "worker/session/office.h"

struct remote_place;

/* The addresses whose mailboxes hold a message now, and the positions at which they hold it. */
struct doorbell {
    struct slice *addresses;
    struct bus_position *positions;
    size_t count;
};

/* All zero: no worker. */
struct remote {
    struct remote_place *places;
};

/* Takes the fields of an address's `:at`: notes the places on other hosts, and removes those of
 * dead workers of this host from Redis. address is borrowed until remote_publish; position is that
 * of the message in the address's mailbox, all zero for a signal. Returns how many places were
 * noted; a place for which memory is short is counted in doorbells_lost. */
unsigned remote_note(struct remote *remote, struct office *office, const struct slice *fields,
                     size_t field_count, struct slice address, struct bus_position position);
/* One PUBLISH for each noted worker: the frame, with recipients and positions filled in. A PUBLISH
 * that cannot leave is counted in publishes_unheard, and in doorbells_lost when the frame is
 * STORED. */
void remote_publish(struct remote *remote, struct office *office, const struct bus_frame *frame);
/* The same for one frame about one address to one place. */
void remote_tell(struct office *office, struct slice place, struct slice address,
                 const struct bus_frame *frame);
/* Frees the notes; remote is all zero again. */
void remote_fini(struct remote *remote);

#endif
