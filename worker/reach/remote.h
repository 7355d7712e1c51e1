/*
 * One message for sessions on other hosts: which workers there are to be told, and of whom.
 *
 * However many of the recipients a worker has, it is told once. What nobody hears is cleaned away:
 * the place is forgotten for those addresses.
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

/* All zero: nobody. */
struct remote {
    struct remote_place *places;
};

/* What `:at` says of an address: those of its fields that are of other hosts are noted, those of
 * dead workers of this one forgotten. address is borrowed until the publish; position is of its
 * mailbox, for a message that is stored. Returns how many workers that is. */
unsigned remote_note(struct remote *remote, struct office *office, const struct slice *fields,
                     size_t field_count, struct slice address, struct bus_position position);
/* One PUBLISH a worker: frame with the recipients filled in. */
void remote_publish(struct remote *remote, struct office *office, const struct bus_frame *frame);
/* One frame about one address. */
void remote_tell(struct office *office, struct slice place, struct slice address,
                 const struct bus_frame *frame);
void remote_fini(struct remote *remote);

#endif
