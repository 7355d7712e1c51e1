#include "worker/service/service_parts.h"

#include "worker/mailbox/mailbox.h"
#include "worker/reach/nodes.h"
#include "worker/service/service_receipts.h"
#include "worker/mailbox/mailbox_service.h"

#include <assert.h>
#include <stdlib.h>

enum {
    ASK_BEATS = 30, /* beats between two questions about an address at which nothing happens */
    PLACES_TEXT_MAX = 64 * 1024,
};

/* ---- addresses ---- */

static struct service_address *address_find(struct service *service, struct address_key key,
                                            struct slice text)
{
    struct service_address *address = service->buckets[key.lo % SERVICE_BUCKETS];

    while (address && !slice_equal(service_address_text(address), text))
        address = address->next;
    return address;
}

struct service_address *service_address_need(struct service *service, struct slice text)
{
    struct address_key key = sessions_key(service->office->region, text);
    struct service_address *address = address_find(service, key, text);

    if (address)
        return address;
    address = calloc(1, sizeof *address + text.len);
    if (!address)
        return NULL;
    address->service = service;
    address->key = key;
    address->address_len = (uint8_t)text.len;
    memcpy(address->address, text.data, text.len);
    buf_init(&address->dead, PLACES_TEXT_MAX);
    address->next = service->buckets[key.lo % SERVICE_BUCKETS];
    service->buckets[key.lo % SERVICE_BUCKETS] = address;
    return address;
}

static void address_free(struct service_address *address)
{
    buf_fini(&address->dead);
    free(address->acks);
    free(address);
}

void service_address_release(struct service *service, struct service_address *address)
{
    struct service_address **at = &service->buckets[address->key.lo % SERVICE_BUCKETS];

    if (address->seats || address->ack_count || address->wanted || address->asking ||
        address->failed)
        return;
    while (*at != address)
        at = &(*at)->next;
    *at = address->next;
    address_free(address);
}

void service_want(struct service *service, struct service_address *address)
{
    if (address->asking)
        address->again = true;
    if (address->asking || address->wanted)
        return;
    address->wanted = true;
    address->next_wanted = service->wanted;
    service->wanted = address;
}

enum err service_address_acked(struct service_address *address, struct seq seq)
{
    if (address->ack_count == address->ack_size) {
        uint32_t size = address->ack_size ? address->ack_size * 2 : 16;
        struct seq *acks = realloc(address->acks, size * sizeof *acks);
        if (!acks)
            return ERR_NOMEM;
        address->acks = acks;
        address->ack_size = size;
    }
    address->acks[address->ack_count++] = seq;
    return OK;
}

void service_address_acks_told(struct service_address *address, uint32_t count)
{
    assert(count <= address->ack_count);
    address->ack_count -= count;
    if (address->ack_count) {
        memmove(address->acks, address->acks + count, address->ack_count * sizeof *address->acks);
        return;
    }
    free(address->acks);
    address->acks = NULL;
    address->ack_size = 0;
}

void service_address_died(struct service_address *address, struct slice place)
{
    buf_add_char(&address->dead, ' ');
    buf_add_slice(&address->dead, place);
}

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

    if (address)
        service_want(office->service, address);
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
                service_want(service, a);
}

/* ---- making it ---- */

struct service *service_new(struct office *office)
{
    struct service *service = calloc(1, sizeof *service);

    if (service) {
        service->office = office;
        buf_init(&service->alive, PLACES_TEXT_MAX);
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
            address_free(address);
        }
    }
    service_receipts_fini(service);
    buf_fini(&service->alive);
    free(service);
}
