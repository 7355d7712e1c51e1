#include "worker/reach/remote.h"

#include "common/grow.h"
#include "worker/mailbox/mailbox_places.h"
#include "worker/reach/bus.h"
#include "worker/reach/nodes.h"

#include <stdlib.h>

struct remote_place {
    struct remote_place *next;
    struct slice *addresses;
    struct bus_position *positions;
    size_t count, size;
    size_t len;
    char text[];
};

/* --- noting --- */

static bool recipients_reserve(struct remote_place *place)
{
    size_t addresses_size = place->size, positions_size = place->size;

    if (grow_reserve(&place->addresses, &addresses_size, place->count + 1, 1, SIZE_MAX) ||
        grow_reserve(&place->positions, &positions_size, place->count + 1, 1, SIZE_MAX))
        return false;
    place->size = positions_size;
    return true;
}

static struct remote_place *need_place(struct remote *remote, struct slice text)
{
    struct remote_place *place;

    for (place = remote->places; place; place = place->next)
        if (slice_equal(slice_make(place->text, place->len), text))
            return place;
    place = calloc(1, sizeof *place + text.len);
    if (!place)
        return NULL;
    place->len = text.len;
    memcpy(place->text, text.data, text.len);
    place->next = remote->places;
    remote->places = place;
    return place;
}

/* Two sessions of an address at one place are one recipient. */
static unsigned note_place(struct remote *remote, struct office *office, struct slice text,
                           struct slice address, struct bus_position position)
{
    struct remote_place *place = need_place(remote, text);

    if (place && place->count && slice_equal(place->addresses[place->count - 1], address))
        return 0;
    if (!place || !recipients_reserve(place)) {
        stats_add(office->stats, STAT_doorbells_lost, 1);
        return 0;
    }
    place->addresses[place->count] = address;
    place->positions[place->count++] = position;
    return 1;
}

unsigned remote_note(struct remote *remote, struct office *office, const struct slice *fields,
                     size_t field_count, struct slice address, struct bus_position position)
{
    unsigned places = 0;

    if (!office->nodes)
        return 0;
    for (size_t i = 0; i < field_count; i++) {
        struct slice place = place_of_field(fields[i]);
        switch (nodes_where(office->nodes, place)) {
        case NODES_AWAY:
            places += note_place(remote, office, place, address, position);
            break;
        case NODES_GONE:
            mailbox_forget_place(office->mailbox, address, place);
            break;
        case NODES_HERE:
            break;
        }
    }
    return places;
}

/* --- publishing --- */

/* A PUBLISH without an answer: the place and the recipients, copied, should nobody have heard it.
 */
struct pending {
    struct office *office;
    size_t place_len, count;
    char *text;
    struct slice addresses[];
};

static struct pending *pending_new(struct office *office, struct slice place,
                                   const struct slice *addresses, size_t count)
{
    size_t bytes = place.len;
    struct pending *pending;
    char *at;

    for (size_t i = 0; i < count; i++)
        bytes += addresses[i].len;
    pending = malloc(sizeof *pending + count * sizeof *pending->addresses + bytes);
    if (!pending)
        return NULL;
    *pending = (struct pending){ .office = office, .place_len = place.len, .count = count };
    at = pending->text = (char *)(pending->addresses + count);
    memcpy(at, place.data, place.len);
    at += place.len;
    for (size_t i = 0; i < count; i++) {
        pending->addresses[i] = slice_make(at, addresses[i].len);
        memcpy(at, addresses[i].data, addresses[i].len);
        at += addresses[i].len;
    }
    return pending;
}

static void on_remote_heard(void *arg, bool heard)
{
    struct pending *pending = arg;
    struct office *office = pending->office;

    for (size_t i = 0; !heard && office->mailbox && i < pending->count; i++)
        mailbox_forget_place(office->mailbox, pending->addresses[i],
                             slice_make(pending->text, pending->place_len));
    free(pending);
}

static void publish_to_place(struct office *office, struct slice place,
                             const struct slice *addresses, size_t count,
                             const struct bus_frame *frame)
{
    struct pending *pending = pending_new(office, place, addresses, count);

    if (bus_publish_to(office->bus, place, frame, pending ? on_remote_heard : NULL, pending) ==
        OK) {
        if (frame->kind == BUS_STORED || frame->kind == BUS_DELIVER)
            stats_add(office->stats, STAT_handed_to_nodes, count);
        return;
    }
    stats_add(office->stats, STAT_publishes_unheard, 1);
    if (frame->kind == BUS_STORED)
        stats_add(office->stats, STAT_doorbells_lost, 1);
    free(pending);
}

void remote_publish(struct remote *remote, struct office *office, const struct bus_frame *frame)
{
    struct bus_frame copy = *frame;

    for (struct remote_place *place = remote->places; place; place = place->next)
        if (place->count) {
            copy.recipients = place->addresses;
            copy.positions = place->positions;
            copy.recipient_count = place->count;
            publish_to_place(office, slice_make(place->text, place->len), place->addresses,
                             place->count, &copy);
        }
}

void remote_tell(struct office *office, struct slice place, struct slice address,
                 const struct bus_frame *frame)
{
    publish_to_place(office, place, &address, 1, frame);
}

void remote_fini(struct remote *remote)
{
    struct remote_place *place;

    while ((place = remote->places)) {
        remote->places = place->next;
        free(place->addresses);
        free(place->positions);
        free(place);
    }
}
