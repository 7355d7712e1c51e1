/*
 * One question to Redis about a service address, and its answer (mailbox/lua/service.lua).
 *
 * The question states facts (these are my sessions, these messages are acknowledged, these workers
 * are dead), not changes, so it may be repeated after a lost answer. The answer brings the messages
 * for this worker's own sessions; messages for other workers' sessions wait in Redis, and those
 * workers are rung.
 */
#include "worker/mailbox/mailbox_service.h"
#include "worker/service/service_parts.h"

#include "shm/slots.h"
#include "shm/stats.h"
#include "worker/delivery/carrier.h"
#include "worker/reach/bus.h"
#include "worker/reach/nodes.h"

#include <stdlib.h>

enum { ACKS_A_CALL = 2000 };

/* ---- the answer ---- */

/* The seat that was asked about is in doubt no longer. Returns whether another one is. */
static bool settle_doubt(struct service_address *address)
{
    bool left = false;

    for (struct service_seat *seat = address->seats; seat; seat = seat->next) {
        if (seat->session->number == address->doubt_asked)
            seat->in_doubt = false;
        left |= seat->started && seat->in_doubt;
    }
    return left;
}

/* Each seat's session is asked about once more: Redis gives again what the session does not hold.
 */
static void doubt_all(struct service_address *address)
{
    for (struct service_seat *seat = address->seats; seat; seat = seat->next)
        seat->in_doubt = true;
}

static void ring_workers(struct service *service, struct service_address *address,
                         const struct mailbox_worked *worked)
{
    bool all = address->ring_all;
    const struct slice *places = all ? worked->places : worked->tell;
    size_t count = all ? worked->place_count : worked->tell_count;

    address->ring_all = false;
    for (size_t i = 0; i < count; i++)
        service_bell_ring(service, address, places[i]);
    for (size_t i = 0; i < worked->place_count; i++)
        if (nodes_where(service->office->nodes, worked->places[i]) == NODES_GONE) {
            service_address_died(address, worked->places[i]);
            address->again = true;
        }
}

static void count_shared_out(struct office *office, const struct mailbox_worked *worked)
{
    stats_add(office->stats, STAT_mail_expired, worked->expired);
    stats_add(office->stats, STAT_service_gone, worked->gone);
    stats_add(office->stats, STAT_service_moved, worked->moved);
}

/* No session gets messages that are not ours: they count as acknowledged. Without memory for that
 * they stay with the sessions that Redis chose, and the next beat asks again, in doubt. */
static void acknowledge_unreadable(struct service_address *address,
                                   const struct mailbox_worked *worked)
{
    if (service_address_acks_reserve(address, worked->unreadable_count)) {
        address->failed = true;
        doubt_all(address);
        return;
    }
    for (size_t i = 0; i < worked->unreadable_count; i++)
        service_address_acked(address, worked->unreadable[i]);
}

static void take_answer(struct service *service, struct service_address *address,
                        const struct mailbox_worked *worked)
{
    bool doubt;

    address->failed = false;
    address->busy = worked->busy;
    service_address_acks_told(address, address->acks_asked);
    buf_drop(&address->dead, address->dead_asked);
    doubt = settle_doubt(address);
    count_shared_out(service->office, worked);
    acknowledge_unreadable(address, worked);
    service_seat_give(service->office, worked);
    ring_workers(service, address, worked);
    address->again |= doubt || worked->more || address->ack_count;
}

/* Whether Redis carried the question out is not known: messages that it gave out may be lost on the
 * way, and workers that were to be rung were not. */
static void take_failure(struct service_address *address)
{
    address->failed = address->ring_all = true;
    doubt_all(address);
}

static void on_work_shared(void *arg, const struct mailbox_worked *worked)
{
    struct service_address *address = arg;
    struct service *service = address->service;

    if (worked->ok)
        take_answer(service, address, worked);
    else
        take_failure(address);
    address->asking = false;
    service->open_count--;
    if (worked->ok && address->again) /* else with the next beat */
        service_address_want(service, address);
    address->again = false;
    service_address_release(service, address);
}

/* ---- the question ---- */

/* The connection of a session without room tells as soon as there is room: service_has_room. */
static bool can_be_given(struct session *session)
{
    if (conn_waiting(&session->conn) < LIVE_BYTES)
        return true;
    conn_ask_for_room(&session->conn, ROOM_BYTES);
    return false;
}

/* The messages that the seat holds; the caller frees them. NULL: no memory. */
static struct seq *held_seqs(const struct service_seat *seat, size_t *count)
{
    struct seq *seqs = malloc(seat->held.count * sizeof *seqs + 1);

    for (uint32_t i = 0; seqs && i < seat->held.count; i++)
        seqs[i] = seat->held.letters[i].seq;
    *count = seqs ? seat->held.count : 0;
    return seqs;
}

static const struct service_seat *first_in_doubt(const struct service_address *address)
{
    const struct service_seat *seat = address->seats;

    while (seat && !(seat->started && seat->in_doubt))
        seat = seat->next;
    return seat;
}

static size_t list_consumers(const struct service_address *address,
                             struct mailbox_consumer *consumers, size_t max)
{
    size_t count = 0;

    for (const struct service_seat *seat = address->seats; seat && count < max; seat = seat->next)
        if (seat->started)
            consumers[count++] =
                (struct mailbox_consumer){ seat->session->number, can_be_given(seat->session) };
    return count;
}

enum err service_question_ask(struct service *service, struct service_address *address)
{
    struct mailbox_consumer consumers[SERVICE_SEATS_MAX];
    const struct service_seat *doubt = first_in_doubt(address);
    struct mailbox_work work = {
        .address = service_address_text(address),
        .consumers = consumers,
        .consumer_count = list_consumers(address, consumers, SERVICE_SEATS_MAX),
        .acks = address->acks,
        .ack_count = address->ack_count < ACKS_A_CALL ? address->ack_count : ACKS_A_CALL,
        .dead = buf_slice(&address->dead),
        .alive = buf_slice(&service->alive),
        .again = doubt ? doubt->session->number : 0,
        .credit = (unsigned)service->office->config->sessions.service_credit,
    };
    struct seq *held = doubt ? held_seqs(doubt, &work.held_count) : NULL;
    enum err err = doubt && !held ? ERR_NOMEM : OK;

    work.held = held;
    if (!err)
        err = mailbox_work(service->office->mailbox, &work, on_work_shared, address);
    free(held);
    address->acks_asked = (uint32_t)work.ack_count;
    address->dead_asked = work.dead.len;
    address->doubt_asked = work.again;
    return err;
}

/* The script need not look at the leases of these workers. */
void service_question_list_alive(struct service *service)
{
    const struct office *office = service->office;
    char place[PLACE_MAX];

    buf_reset(&service->alive);
    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++) {
        uint64_t incarnation = slot_incarnation(office->region, slot);
        if (!incarnation)
            continue;
        buf_add_char(&service->alive, ' ');
        buf_add(&service->alive, place, bus_place(place, office->node, slot, incarnation));
    }
}
