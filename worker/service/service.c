/* The worker's part in service addresses: when Redis is asked about which address. */
#include "worker/service/service_parts.h"

#include "worker/mailbox/mailbox.h"
#include "worker/reach/nodes.h"
#include "worker/service/service_receipts.h"
#include "worker/mailbox/mailbox_service.h"

#include <stdlib.h>

enum { ASK_BEATS = 30 }; /* beats between two questions about an address at which nothing happens */

/* ---- when Redis is asked ---- */

void service_flush(struct office *office)
{
    struct service *service = office->service;
    struct service_address *list = service->wanted, *address;

    if (!list || !mailbox_is_up(office->mailbox))
        return;
    service_question_list_alive(service);
    service->wanted = NULL;
    while ((address = list)) {
        list = address->next_wanted;
        address->wanted = false;
        if (service_question_ask(service, address)) {
            address->failed = true;
            continue;
        }
        address->asking = true;
        service->open_count++;
    }
}

bool service_waits(const struct office *office)
{
    return office->service->wanted && mailbox_is_up(office->mailbox);
}

bool service_settled(const struct office *office)
{
    const struct service *service = office->service;

    return !office->mailbox || !mailbox_is_up(office->mailbox) ||
           (!service->wanted && service->open_count == 0);
}

void service_news(struct office *office, struct slice text)
{
    struct service_address *address = service_address_need(office->service, text);

    /* The sessions of the address are on other workers. Those of this host see the counter move and
     * ask for themselves (delivery/neighbours.h), all ask every ASK_BEATS. */
    if (!address)
        stats_add(office->stats, STAT_doorbells_lost, 1);
    else
        service_address_want(office->service, address);
}

/* Are there fewer workers of other hosts than at the last beat? (A death on this host makes
 * catch_up_lightly ask about all addresses.) */
static bool far_workers_died(struct service *service)
{
    uint32_t count = nodes_count(service->office->nodes), before = service->far_count;

    service->far_count = count;
    return count < before;
}

void service_beat(struct office *office)
{
    struct service *service = office->service;
    bool death = far_workers_died(service);

    service->beats++;
    service_receipts_retry(office);
    for (uint32_t i = 0; i < SERVICE_BUCKETS; i++)
        for (struct service_address *a = service->buckets[i]; a; a = a->next)
            if (a->failed ||
                (a->seats && (death || a->busy || (service->beats + a->key.hi) % ASK_BEATS == 0)))
                service_address_want(service, a);
}

/* ---- making it ---- */

struct service *service_new(struct office *office)
{
    struct service *service = calloc(1, sizeof *service);

    if (service) {
        service->office = office;
        buf_init(&service->alive, SERVICE_PLACES_BYTES_MAX);
    }
    return service;
}

void service_free(struct service *service)
{
    if (!service)
        return;
    for (uint32_t i = 0; i < SERVICE_BUCKETS; i++) {
        struct service_address *address;
        while ((address = service->buckets[i])) {
            service->buckets[i] = address->next;
            service_address_free(address);
        }
    }
    service_receipts_fini(service);
    buf_fini(&service->alive);
    free(service);
}
