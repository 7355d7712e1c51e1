/*
 * A session's part in a service address: its seat. What the session is given, holds and
 * acknowledges, and what becomes of that when the session leaves.
 */
#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/mailbox_read.h"
#include "worker/service/service_parts.h"

#include "shm/stats.h"
#include "worker/delivery/carrier.h"
#include "worker/envelope/postmaster.h"
#include "worker/service/service_receipts.h"

#include <stdlib.h>

static const struct session_supply service_supply;

/* How many messages a seat of this worker held before, and holds now. */
static void count_held(const struct office *office, uint32_t before, uint32_t now)
{
    uint64_t all = stats_get(office->stats, STAT_service_held);

    stats_set(office->stats, STAT_service_held, all + now - before);
}

/* ---- sitting and leaving ---- */

enum err service_sit(struct session *session)
{
    struct office *office = session->office;
    struct service_seat *seat = calloc(1, sizeof *seat);

    if (!seat)
        return ERR_NOMEM;
    seat->session = session;
    session->seat = seat;
    session->supply = &service_supply;
    if (!office->mailbox)
        return OK;
    seat->address = service_address_need(office->service, session_address(session));
    if (!seat->address)
        return ERR_NOMEM;
    seat->next = seat->address->seats;
    seat->address->seats = seat;
    return OK;
}

static void unlink_seat(struct service_seat *seat)
{
    struct service_seat **at = &seat->address->seats;

    while (*at && *at != seat)
        at = &(*at)->next;
    if (*at)
        *at = seat->next;
}

void service_leave(struct session *session)
{
    struct service_seat *seat = session->seat;

    if (!seat)
        return;
    session->seat = NULL;
    session->supply = &carrier_supply; /* closing: nothing is supplied any more */
    if (seat->address) {
        unlink_seat(seat);
        if (seat->started)
            service_address_want(session->office->service, seat->address);
        else
            service_address_release(session->office->service, seat->address);
    }
    count_held(session->office, seat->held.count, 0);
    service_held_clear(&seat->held);
    free(seat);
}

/* ---- giving ---- */

static enum err seat_hold(struct session *session, const struct mailbox_entry *entry)
{
    struct service_held *held = &session->seat->held;
    uint32_t before = held->count;
    enum err err = service_held_add(held, entry->seq, entry->receipt);

    count_held(session->office, before, held->count);
    return err;
}

static void seat_give(struct session *session, const struct mailbox_entry *entry)
{
    struct service_seat *seat = session->seat;
    struct outbox_position position = { .ms = entry->seq.ms,
                                        .n = entry->seq.n,
                                        .number = ++seat->numbers };
    struct msg *msg;

    if (service_held_has(&seat->held, entry->seq))
        return;
    msg = msg_new(entry->body, MSG_MAIL, entry->level);
    if (!msg || seat_hold(session, entry) || conn_send_at(&session->conn, msg, position)) {
        conn_abort_no_memory(&session->conn); /* its messages go to other sessions */
    } else {
        stats_add(session->office->stats, STAT_service_given, 1);
        stats_add(session->office->stats, STAT_deliveries_read, 1);
    }
    msg_unref(msg);
}

void service_seat_give(struct office *office, const struct mailbox_worked *worked)
{
    for (size_t i = 0; i < worked->given_count; i++) {
        struct session *session = session_open_by_number(office, worked->given[i].number);
        /* A session that has gone meanwhile: the next question does not name it as a consumer. */
        if (session && session->seat)
            seat_give(session, &worked->given[i].entry);
    }
}

/* ---- how the session is supplied (session_supply) ---- */

/* A service session has no backlog of its own. */
static void service_say_replayed(struct session *session)
{
    struct msg *msg = postmaster_replayed(session_address(session), (struct seq){ 0, 0 });

    if (!msg || conn_send_at(&session->conn, msg, (struct outbox_position){ 0 }))
        conn_abort_no_memory(&session->conn);
    msg_unref(msg);
}

/* In doubt from the start: a worker that had this place in an earlier run of the server may have
 * left a session of the same number. For the same reason all workers are rung. */
static void service_start(struct session *session, struct seq after, struct seq newest)
{
    struct service_seat *seat;

    (void)after;
    (void)newest;
    service_say_replayed(session);
    seat = session->seat;
    if (!seat)
        return; /* the connection broke */
    seat->started = seat->in_doubt = true;
    seat->address->ring_all = true;
    service_address_want(session->office->service, seat->address);
}

static void service_reopened(struct session *session, const struct mailbox_opened *opened,
                             struct seq queued)
{
    struct office *office = session->office;
    struct service_seat *seat = session->seat;
    struct standing standing = { .last = opened->last,
                                 .epoch = office->epoch,
                                 .recovered = !seat->started };

    (void)queued;
    if (seat->started && session->data_lost_count == office->data_lost_count) {
        seat->in_doubt = true;
        service_address_want(office->service, seat->address);
        return;
    }
    session->data_lost_count = office->data_lost_count;
    count_held(office, seat->held.count, 0);
    service_held_clear(&seat->held);
    session_say_welcome(session, &standing);
    if (conn_is_open(&session->conn))
        service_start(session, standing.cursor, standing.last);
}

static void service_left(struct session *session, struct outbox_position position)
{
    service_held_left(&session->seat->held, (struct seq){ position.ms, position.n });
}

static void service_has_room(struct session *session)
{
    if (session->seat->address)
        service_address_want(session->office->service, session->seat->address);
}

static void service_read_on(struct session *session)
{
    if (session->seat->address)
        service_address_want(session->office->service, session->seat->address);
}

/* A doorbell of a worker whose configuration does not name the address as a service: Redis is asked
 * who gets the message. */
static void service_offer(struct session *session, struct seq seq, struct seq before,
                          struct slice skip_device, struct msg *msg)
{
    (void)seq;
    (void)before;
    (void)skip_device;
    (void)msg;
    service_read_on(session);
}

/* The messages that one `ack` acknowledges, and among them those that ask for a receipt. */
struct acknowledged {
    struct session *session;
    struct seq *seqs, *asked;
    size_t count, asked_count;
};

static void on_acknowledged(void *arg, const struct service_letter *letter)
{
    struct acknowledged *all = arg;
    struct session *session = all->session;

    session->cursor = seq_max(letter->seq, session->cursor);
    all->seqs[all->count++] = letter->seq;
    if (letter->receipt)
        all->asked[all->asked_count++] = letter->seq;
}

/* Receipts are owed first: a message whose receipt nobody owes must not be acknowledged. */
static enum err acknowledge(struct session *session, const struct acknowledged *all)
{
    struct service_address *address = session->seat->address;

    if (service_address_acks_reserve(address, all->count) ||
        (all->asked_count && service_receipts_owe(session, all->asked, all->asked_count)))
        return ERR_NOMEM;
    for (size_t i = 0; i < all->count; i++)
        service_address_acked(address, all->seqs[i]);
    return OK;
}

static bool service_ack(struct session *session, struct seq seq)
{
    struct service_seat *seat = session->seat;
    struct acknowledged all = { .session = session };
    uint32_t held = seat->held.count;
    bool any = false;

    if (!seat->address || held == 0)
        return false;
    all.seqs = malloc((size_t)2 * held * sizeof *all.seqs);
    if (all.seqs) {
        all.asked = all.seqs + held;
        any = service_held_ack(&seat->held, seq, on_acknowledged, &all);
        count_held(session->office, held, seat->held.count);
    }
    if (!all.seqs || acknowledge(session, &all))
        conn_abort_no_memory(&session->conn); /* other sessions get the messages */
    else if (any)
        service_address_want(session->office->service, seat->address);
    free(all.seqs);
    return any;
}

static const struct session_supply service_supply = {
    .start = service_start,
    .reopened = service_reopened,
    .read_on = service_read_on,
    .offer = service_offer,
    .ack = service_ack,
    .left = service_left,
    .has_room = service_has_room,
};
