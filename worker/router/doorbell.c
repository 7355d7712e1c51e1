#include "worker/router/doorbell.h"

#include "common/address.h"
#include "shm/stats.h"
#include "worker/groups/groups.h"
#include "worker/session/session.h"
#include "worker/reach/bus.h"

#include <stdlib.h>

/* Offers the message to the sessions of an address here, or to the group. Returns false when the
 * address is unknown here. */
static bool offer_here(struct office *office, struct slice address, struct bus_position position,
                       struct slice skip_device, struct msg *msg)
{
    if (address_is_group(address))
        return groups_offer(office, address, position, msg);

    struct directory_entry *entry =
        directory_find(&office->directory, sessions_key(office->region, address), address);
    struct session *session, *next;

    for (session = entry ? entry->sessions : NULL; session; session = next) {
        next = session->next_same;
        session->supply->offer(session, position.seq, position.before, skip_device, msg);
    }
    return entry != NULL;
}

void doorbell_heard(struct office *office, const struct slice *recipients,
                    const struct bus_position *positions, size_t recipient_count,
                    struct slice skip_device, struct msg *msg)
{
    office->is_relaying = true;
    for (size_t i = 0; i < recipient_count; i++)
        if (!offer_here(office, recipients[i], positions[i], skip_device, msg)) {
            stats_add(office->stats, STAT_deliveries_missed, 1);
            groups_unknown(office, recipients[i]);
        }
    office->is_relaying = false;
}

/* Doorbells that the worker could not ring. Every worker of this host sees the counter move, and
 * then reads on in its mailboxes (delivery/neighbours.h). */
static void count_lost(struct office *office, unsigned count)
{
    stats_add(office->stats, STAT_publishes_unheard, count);
    stats_add(office->stats, STAT_doorbells_lost, count);
}

static void ring_worker(struct office *office, uint32_t slot, const struct doorbell *bell,
                        struct slice skip_device, struct msg *msg)
{
    if (bell->count == 0)
        return;
    if (bus_publish_stored(office->bus, slot, bell->addresses, bell->positions, bell->count,
                           skip_device, msg))
        count_lost(office, 1);
    else
        stats_add(office->stats, STAT_handed_to_workers, bell->count);
}

static uint64_t other_workers(const struct office *office, struct slice address)
{
    return sessions_workers(office->region, sessions_key(office->region, address)) &
           ~((uint64_t)1 << office->slot);
}

/* Rings each of these workers once, however many of the addresses the worker has. */
static void ring_workers(struct office *office, uint64_t workers, const struct doorbell *all,
                         struct slice skip_device, struct msg *msg)
{
    uint64_t *where = malloc(all->count * sizeof *where);
    struct doorbell bell = { malloc(all->count * sizeof *bell.addresses),
                             malloc(all->count * sizeof *bell.positions), 0 };

    for (size_t i = 0; where && i < all->count; i++)
        where[i] = other_workers(office, all->addresses[i]);
    if (!where || !bell.addresses || !bell.positions) {
        count_lost(office, (unsigned)__builtin_popcountll(workers));
        workers = 0;
    }
    for (; workers; workers &= workers - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(workers);
        bell.count = 0;
        for (size_t i = 0; i < all->count; i++)
            if (where[i] >> slot & 1) {
                bell.addresses[bell.count] = all->addresses[i];
                bell.positions[bell.count++] = all->positions[i];
            }
        ring_worker(office, slot, &bell, skip_device, msg);
    }
    free(where);
    free(bell.addresses);
    free(bell.positions);
}

/* To the other workers of this host; most messages have none to ring. */
static void ring_neighbours(struct office *office, const struct doorbell *all,
                            struct slice skip_device, struct msg *msg)
{
    uint64_t workers = 0;

    for (size_t i = 0; i < all->count; i++)
        workers |= other_workers(office, all->addresses[i]);
    if (workers)
        ring_workers(office, workers, all, skip_device, msg);
}

static void ring_remote(struct office *office, struct remote *remote, struct slice skip_device,
                        const struct msg *msg)
{
    remote_publish(remote, office,
                   &(struct bus_frame){ .kind = BUS_STORED,
                                        .level = msg->level,
                                        .msg_kind = msg->kind,
                                        .msg_flags = msg->flags,
                                        .body = msg_slice(msg),
                                        .skip_device = skip_device });
}

void doorbell_ring(struct office *office, const struct doorbell *stored, struct remote *remote,
                   struct slice skip_device, struct msg *msg)
{
    for (size_t i = 0; i < stored->count; i++)
        offer_here(office, stored->addresses[i], stored->positions[i], skip_device, msg);
    ring_neighbours(office, stored, skip_device, msg);
    ring_remote(office, remote, skip_device, msg);
}
