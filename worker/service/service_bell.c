/*
 * Doorbells between the workers of a service address: Redis has given messages to sessions of
 * another worker, and that worker must ask for them.
 *
 * A doorbell carries no message. When nobody hears it, the worker is dead, and Redis is told so
 * with the next question; or its connection was cut, and it asks by itself when it is back.
 */
#include "worker/service/service_parts.h"

#include "shm/stats.h"
#include "worker/reach/bus.h"
#include "worker/reach/nodes.h"
#include "worker/redis/redis.h"

#include <stdlib.h>

/* A doorbell on its way. */
struct bell {
    struct service *service;
    uint16_t address_len, place_len;
    char text[]; /* address, place */
};

/* Of a worker of another host only its lease tells whether the worker lives: until the lease is
 * over, the doorbell is rung with each beat (failed). */
static void bell_unheard(struct service *service, struct service_address *address,
                         struct slice place)
{
    struct office *office = service->office;
    enum nodes_where where = nodes_where(office->nodes, place);

    if (where == NODES_GONE) {
        service_address_died(address, place);
        service_address_want(service, address);
    } else if (where == NODES_AWAY || !redis_is_up(bus_commands(office->bus))) {
        address->failed = address->ring_all = true;
    }
}

static void on_bell_heard(void *arg, bool heard)
{
    struct bell *bell = arg;
    struct service_address *address =
        heard ? NULL
              : service_address_need(bell->service, slice_make(bell->text, bell->address_len));

    if (address) {
        bell_unheard(bell->service, address,
                     slice_make(bell->text + bell->address_len, bell->place_len));
        service_address_release(bell->service, address);
    }
    if (!heard && !address)
        stats_add(bell->service->office->stats, STAT_doorbells_lost, 1);
    free(bell);
}

void service_bell_ring(struct service *service, struct service_address *address, struct slice place)
{
    struct slice text = service_address_text(address);
    struct bus_frame frame = { .kind = BUS_WORK, .recipients = &text, .recipient_count = 1 };
    struct bell *bell = malloc(sizeof *bell + text.len + place.len);

    if (!bell) {
        address->failed = address->ring_all = true;
        return;
    }
    *bell = (struct bell){ .service = service,
                           .address_len = (uint16_t)text.len,
                           .place_len = (uint16_t)place.len };
    memcpy(bell->text, text.data, text.len);
    memcpy(bell->text + text.len, place.data, place.len);
    if (bus_publish_to(service->office->bus, place, &frame, on_bell_heard, bell)) {
        address->failed = address->ring_all = true;
        free(bell);
    }
}
