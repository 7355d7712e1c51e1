/*
 * Names of workers on all hosts, and the fields of an address's `:at` in Redis, which are made of
 * these names. Pure.
 *
 * A place is the name of a worker, "NODE:SLOT:INCARNATION" (bus_place). The upper half of the
 * incarnation is the run of the server (shm/slots.h): workers of one host know each other by node
 * and run, so two servers that were given the same node.id still count as two hosts.
 *
 * A field of `:at` is "PLACE/NUMBER" for a session, with the value "OPENED DEVICE"; or only "PLACE"
 * for a worker with subscribers of a group. A session has a field of its own: sessions come and go
 * one by one, and no worker ever writes again what another session has changed meanwhile.
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
/* False: text is no place. Borrows text. */
bool place_parse(struct slice text, struct place *place);
/* True for workers of one run of one server. */
static inline bool place_same_host(const struct place *a, const struct place *b)
{
    return a->incarnation >> 32 == b->incarnation >> 32 && slice_equal(a->node, b->node);
}

/* The place in a field of `:at`; borrows field. */
struct slice place_of_field(struct slice field);

/* One session of an address, as `:at` has it. */
struct at_session {
    struct slice place;
    uint64_t number;    /* the session's, at that place */
    uint64_t opened_us; /* the sessions of an address are ordered by it (mailbox_enter.h) */
    struct slice device;
};
/* False: the field is not of a session. Borrows both texts. */
bool place_session_parse(struct slice field, struct slice value, struct at_session *session);
/* Appends the field of a session. */
void place_session_add_field(struct buf *out, struct slice place, uint64_t number);

#endif
