/*
 * The service addresses that this worker has to do with: a hash table, and what each address has to
 * tell Redis with its next question.
 */
#include "worker/service/service_parts.h"

#include "common/grow.h"

#include <assert.h>
#include <stdlib.h>

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
    buf_init(&address->dead, SERVICE_PLACES_BYTES_MAX);
    address->next = service->buckets[key.lo % SERVICE_BUCKETS];
    service->buckets[key.lo % SERVICE_BUCKETS] = address;
    return address;
}

void service_address_free(struct service_address *address)
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
    service_address_free(address);
}

void service_address_want(struct service *service, struct service_address *address)
{
    if (address->asking)
        address->again = true;
    if (address->asking || address->wanted)
        return;
    address->wanted = true;
    address->next_wanted = service->wanted;
    service->wanted = address;
}

enum err service_address_acks_reserve(struct service_address *address, size_t count)
{
    return grow_reserve(&address->acks, &address->ack_size, address->ack_count + count, 16,
                        SIZE_MAX);
}

void service_address_acked(struct service_address *address, struct seq seq)
{
    assert(address->ack_count < address->ack_size);
    address->acks[address->ack_count++] = seq;
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
