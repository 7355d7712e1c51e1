#include "worker/reach/inquiry.h"

#include "shm/slots.h"
#include "worker/mailbox/place.h"
#include "worker/reach/reach.h"

/* Incarnations of two servers hardly ever agree (shm/slots.h), and the node's name must agree
 * too. */
static bool is_here(const struct office *office, const struct place *place)
{
    return place->slot < WORKERS_MAX && slice_equal(place->node, slice_of(office->node)) &&
           slot_incarnation(office->region, place->slot) == place->incarnation;
}

static enum err send_to(struct office *office, struct slice text, const struct bus_frame *frame)
{
    struct place place;

    if (!place_parse(text, &place))
        return ERR_BAD;
    if (is_here(office, &place))
        return reach_send(office->reach, place.slot, place.incarnation, frame);
    return bus_publish_to(office->bus, text, frame, NULL, NULL);
}

enum err inquiry_ask(struct office *office, struct slice place, uint64_t number,
                     struct slice question)
{
    char self[PLACE_MAX];
    size_t len = bus_place(self, office->node, office->slot, office->incarnation);
    struct bus_frame frame = {
        .kind = BUS_ASK, .session_number = number, .place = slice_make(self, len), .body = question
    };

    return send_to(office, place, &frame);
}

enum err inquiry_tell(struct office *office, struct slice place, uint64_t number,
                      struct slice answer)
{
    struct bus_frame frame = { .kind = BUS_TELL, .session_number = number, .body = answer };

    return send_to(office, place, &frame);
}

enum err inquiry_revoked(struct office *office, struct slice place, struct slice text)
{
    struct bus_frame frame = { .kind = BUS_REVOKED, .body = text };

    return send_to(office, place, &frame);
}
