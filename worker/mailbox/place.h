/*
 * Names of workers among all hosts, and what an address's `:at` in Redis says: which sessions it
 * has, and at which worker. Pure.
 *
 * A place is "NODE:SLOT:INCARNATION" (bus_place). The upper half of the incarnation is the run of
 * the server (shm/slots.h), so workers of one host know each other by node and run, and two servers
 * that were given the same node.id are two hosts all the same.
 *
 * A field of `:at` is "PLACE/NUMBER" for a session, its value "OPENED DEVICE"; or only "PLACE", for
 * all that a worker has (subscribers of a group). One field a session: each comes and goes by
 * itself, and no worker ever has to write down again what another session of its own has changed
 * meanwhile.
 */
#ifndef WORKER_PLACE_H
#define WORKER_PLACE_H

#include "common/buf.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct place {
    struct slice node;
    uint32_t slot;
    uint64_t incarnation;
};
/* False when it is not one. */
bool place_parse(struct slice text, struct place *place);
/* Are these workers of one run of one server? */
static inline bool place_same_host(const struct place *a, const struct place *b)
{
    return a->incarnation >> 32 == b->incarnation >> 32 && slice_equal(a->node, b->node);
}

/* The place that a field of `:at` names. */
struct slice at_place(struct slice field);

/* One session of an address, as `:at` has it. */
struct at_session {
    struct slice place;
    uint64_t number;    /* the session's, at that place */
    uint64_t opened_us; /* in which order the sessions of an address began */
    struct slice device;
};
/* False when the field is not of a session. */
bool at_parse(struct slice field, struct slice value, struct at_session *session);
/* Appends the field of a session. */
void at_add_field(struct buf *out, struct slice place, uint64_t number);

#endif
