#include "worker/service/service.h"

#include "common/log.h"
#include "shm/slots.h"
#include "worker/delivery/carrier.h"
#include "worker/envelope/postmaster.h"
#include "worker/reach/bus.h"
#include "worker/reach/nodes.h"
#include "worker/service/service_held.h"
#include "worker/service/service_receipts.h"
#include "worker/mailbox/mailbox.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BUCKETS = 1024,
    ACKS_A_CALL = 2000,
    LOOK_BEATS = 30, /* an address at which nothing happens is looked at this often */
    PLACES_MAX = 128,
    PLACES_TEXT_MAX = 64 * 1024,
};

struct service_seat {
    struct service_seat *next; /* of the same address here */
    struct session *session;
    struct service_address *address; /* NULL: nothing is stored */
    struct service_held held;
    uint64_t numbers; /* messages queued so far */
    bool started;
    bool doubt; /* it may have been given something that never came here */
};

struct service_address {
    struct service_address *next, *next_wanted; /* of the same bucket; to be asked about */
    struct address_key key;
    struct service_seat *seats;
    struct seq *acks; /* not yet known to be in Redis */
    uint32_t ack_count, ack_size;
    struct buf dead; /* places, separated by spaces */
    bool wanted, asking;
    bool again;    /* something happened since it was asked */
    bool failed;   /* the last answer did not come */
    bool busy;     /* something there is not acknowledged */
    bool tell_all; /* whom the doorbell was for is not known: all are told */
    /* Of the question on its way. */
    uint32_t acks_asked;
    size_t dead_asked;
    uint64_t doubt_asked;
    uint8_t address_len;
    char address[];
};

struct service {
    struct office *office;
    struct service_address *buckets[BUCKETS];
    struct service_address *wanted;
    struct buf alive; /* the workers of this host, separated by spaces */
    uint32_t beats, far_count;
    uint32_t open; /* wanted or asking */
};

/* ---- addresses ---- */

static struct slice text_of(const struct service_address *address)
{
    return slice_make(address->address, address->address_len);
}

static struct service_address *find(struct service *service, struct address_key key,
                                    struct slice text)
{
    struct service_address *address = service->buckets[key.lo % BUCKETS];

    while (address && !slice_equal(text_of(address), text))
        address = address->next;
    return address;
}

static struct service_address *need(struct service *service, struct slice text)
{
    struct address_key key = sessions_key(service->office->region, text);
    struct service_address *address = find(service, key, text);

    if (address)
        return address;
    address = calloc(1, sizeof *address + text.len);
    if (!address)
        return NULL;
    address->key = key;
    address->address_len = (uint8_t)text.len;
    memcpy(address->address, text.data, text.len);
    buf_init(&address->dead, PLACES_TEXT_MAX);
    address->next = service->buckets[key.lo % BUCKETS];
    service->buckets[key.lo % BUCKETS] = address;
    return address;
}

static void free_address(struct service_address *address)
{
    buf_fini(&address->dead);
    free(address->acks);
    free(address);
}

static void release_unused(struct service *service, struct service_address *address)
{
    struct service_address **at = &service->buckets[address->key.lo % BUCKETS];

    if (address->seats || address->ack_count || address->wanted || address->asking ||
        address->failed)
        return;
    while (*at != address)
        at = &(*at)->next;
    *at = address->next;
    free_address(address);
}

/* It is to be asked about at the end of this turn. */
static void want(struct service *service, struct service_address *address)
{
    if (address->asking)
        address->again = true;
    if (address->asking || address->wanted)
        return;
    address->wanted = true;
    address->next_wanted = service->wanted;
    service->wanted = address;
}

/* ---- other places ---- */

static void add_place(struct buf *out, struct slice place)
{
    buf_add_char(out, ' ');
    buf_add_slice(out, place);
}

/* A doorbell on its way. */
struct bell {
    struct service *service;
    uint16_t address_len, place_len;
    char text[]; /* address, place */
};

/* One that lives does not hear when its connection was cut: it looks by itself when it is back. Of
 * another host only its lease tells, so it is told again until that is over. */
static void not_heard(struct service *service, struct service_address *address, struct slice place)
{
    struct office *office = service->office;
    enum nodes_where where = nodes_where(office->nodes, place);

    if (where == NODES_GONE)
        add_place(&address->dead, place);
    if (where == NODES_GONE)
        want(service, address);
    else if (where == NODES_AWAY || !redis_is_up(bus_commands(office->bus)))
        address->failed = address->tell_all = true; /* with the next beat */
}

static void on_heard(void *arg, bool heard)
{
    struct bell *bell = arg;
    struct service_address *address =
        heard ? NULL : need(bell->service, slice_make(bell->text, bell->address_len));

    if (address) {
        not_heard(bell->service, address,
                  slice_make(bell->text + bell->address_len, bell->place_len));
        release_unused(bell->service, address);
    }
    free(bell);
}

static void ring(struct service *service, struct service_address *address, struct slice place)
{
    struct slice text = text_of(address);
    struct bus_frame frame = { .kind = BUS_WORK, .recipients = &text, .recipient_count = 1 };
    struct bell *bell = malloc(sizeof *bell + text.len + place.len);

    if (!bell) {
        address->failed = address->tell_all = true;
        return;
    }
    *bell = (struct bell){ .service = service,
                           .address_len = (uint16_t)text.len,
                           .place_len = (uint16_t)place.len };
    memcpy(bell->text, text.data, text.len);
    memcpy(bell->text + text.len, place.data, place.len);
    if (bus_publish_to(service->office->bus, place, &frame, on_heard, bell)) {
        address->failed = address->tell_all = true; /* with the next beat */
        free(bell);
    }
}

/* ---- what is given ---- */

static void give(struct session *session, const struct mailbox_entry *entry)
{
    struct service_seat *seat = session->seat;
    struct outbox_position position = { .ms = entry->seq.ms,
                                        .n = entry->seq.n,
                                        .number = ++seat->numbers };
    struct msg *msg;

    if (service_held_has(&seat->held, entry->seq))
        return;
    msg = msg_new(entry->body, MSG_MAIL, entry->level);
    if (!msg || service_held_add(&seat->held, entry->seq, entry->receipt) ||
        conn_send_at(&session->conn, msg, position))
        conn_abort(&session->conn); /* others get what it has */
    else
        stats_add(session->office->stats, STAT_service_given, 1);
    msg_unref(msg);
}

static void give_all(struct office *office, const struct mailbox_worked *worked)
{
    for (size_t i = 0; i < worked->given_count; i++) {
        struct session *session = session_by_number(office, worked->given[i].number);
        /* One that has gone meanwhile is no consumer any more with the next question. */
        if (session && session->seat && conn_is_open(&session->conn))
            give(session, &worked->given[i].entry);
    }
}

/* ---- the answer ---- */

static enum err add_ack(struct service_address *address, struct seq seq)
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

static void drop_acks(struct service_address *address, uint32_t count)
{
    address->ack_count -= count;
    if (address->ack_count) {
        memmove(address->acks, address->acks + count, address->ack_count * sizeof *address->acks);
        return;
    }
    free(address->acks);
    address->acks = NULL;
    address->ack_size = 0;
}

static void take_doubt(struct service_address *address, bool *left)
{
    for (struct service_seat *seat = address->seats; seat; seat = seat->next) {
        if (seat->session->number == address->doubt_asked)
            seat->doubt = false;
        *left |= seat->started && seat->doubt;
    }
}

static void ring_all(struct service *service, struct service_address *address,
                     const struct mailbox_worked *worked)
{
    bool all = address->tell_all;
    const struct slice *places = all ? worked->places : worked->tell;
    size_t count = all ? worked->place_count : worked->tell_count;

    address->tell_all = false;
    for (size_t i = 0; i < count; i++)
        ring(service, address, places[i]);
    for (size_t i = 0; i < worked->place_count; i++)
        if (nodes_where(service->office->nodes, worked->places[i]) == NODES_GONE) {
            add_place(&address->dead, worked->places[i]);
            address->again = true;
        }
}

static void count_all(struct office *office, const struct mailbox_worked *worked)
{
    stats_add(office->stats, STAT_mail_expired, worked->expired);
    stats_add(office->stats, STAT_service_gone, worked->gone);
    stats_add(office->stats, STAT_service_moved, worked->moved);
}

static void take_answer(struct service *service, struct service_address *address,
                        const struct mailbox_worked *worked)
{
    bool doubt = false;

    address->failed = false;
    address->busy = worked->busy;
    drop_acks(address, address->acks_asked);
    buf_drop(&address->dead, address->dead_asked);
    take_doubt(address, &doubt);
    count_all(service->office, worked);
    for (size_t i = 0; i < worked->unreadable_count; i++)
        if (add_ack(address, worked->unreadable[i]))
            break; /* it stays with that session */
    give_all(service->office, worked);
    ring_all(service, address, worked);
    address->again |= doubt || worked->more || address->ack_count;
}

/* Whether it was carried out is not known: what was taken may be lost on the way, and who was to be
 * told was not. */
static void take_failure(struct service_address *address)
{
    address->failed = address->tell_all = true;
    for (struct service_seat *seat = address->seats; seat; seat = seat->next)
        seat->doubt = true;
}

static struct service *the_service; /* one worker, one service: answers find it here */

static void on_worked(void *arg, const struct mailbox_worked *worked)
{
    struct service_address *address = arg;
    struct service *service = the_service;

    if (worked->ok)
        take_answer(service, address, worked);
    else
        take_failure(address);
    address->asking = false;
    service->open--;
    if (worked->ok && address->again) /* else with the next beat */
        want(service, address);
    address->again = false;
    release_unused(service, address);
}

/* ---- the question ---- */

static bool has_room(struct session *session)
{
    if (conn_waiting(&session->conn) < LIVE_BYTES)
        return true;
    conn_ask_for_room(&session->conn, ROOM_BYTES);
    return false;
}

/* What the one in doubt holds; NULL: nothing, or no memory. */
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

    while (seat && !(seat->started && seat->doubt))
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
                (struct mailbox_consumer){ seat->session->number, has_room(seat->session) };
    return count;
}

static enum err ask(struct service *service, struct service_address *address)
{
    struct mailbox_consumer consumers[PLACES_MAX];
    const struct service_seat *doubt = first_in_doubt(address);
    struct mailbox_work work = {
        .address = text_of(address),
        .consumers = consumers,
        .consumer_count = list_consumers(address, consumers, PLACES_MAX),
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
        err = mailbox_work(service->office->mailbox, &work, on_worked, address);
    free(held);
    address->acks_asked = (uint32_t)work.ack_count;
    address->dead_asked = work.dead.len;
    address->doubt_asked = work.again;
    return err;
}

/* Their leases need not be looked at. */
static void list_alive(struct service *service)
{
    const struct office *office = service->office;
    char place[PLACE_MAX];

    buf_reset(&service->alive);
    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++) {
        uint64_t incarnation = slot_incarnation(office->region, slot);
        if (incarnation)
            add_place(&service->alive,
                      slice_make(place, bus_place(place, office->node, slot, incarnation)));
    }
}

void service_flush(struct office *office)
{
    struct service *service = office->service;
    struct service_address *list = service->wanted, *address;

    if (!list || !mailbox_is_up(office->mailbox))
        return;
    list_alive(service);
    service->wanted = NULL;
    while ((address = list)) {
        list = address->next_wanted;
        address->wanted = false;
        if (ask(service, address)) {
            address->failed = true;
            continue;
        }
        address->asking = true;
        service->open++;
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
           (!service->wanted && service->open == 0);
}

/* ---- a session ---- */

/* A service session has no backlog of its own. */
static void say_replayed(struct session *session)
{
    struct msg *msg = postmaster_replayed(session_address(session), (struct seq){ 0, 0 });

    if (!msg || conn_send_at(&session->conn, msg, (struct outbox_position){ 0 }))
        conn_abort(&session->conn);
    msg_unref(msg);
}

/* In doubt from the start: a worker that had this place in an earlier life of the server may have
 * left a session of the same number. The others are told, for the same reason. */
static void service_start(struct session *session, struct seq after, struct seq newest)
{
    struct service_seat *seat;

    (void)after;
    (void)newest;
    say_replayed(session);
    seat = session->seat;
    if (!seat)
        return; /* the connection broke */
    seat->started = seat->doubt = true;
    seat->address->tell_all = true;
    want(session->office->service, seat->address);
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
        seat->doubt = true;
        want(office->service, seat->address);
        return;
    }
    session->data_lost_count = office->data_lost_count;
    service_held_clear(&seat->held);
    session_say_welcome(session, &standing);
    if (conn_is_open(&session->conn))
        service_start(session, standing.cursor, standing.last);
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
            want(session->office->service, seat->address);
        else
            release_unused(session->office->service, seat->address);
    }
    service_held_clear(&seat->held);
    free(seat);
}

static void service_left(struct session *session, struct outbox_position position)
{
    service_held_left(&session->seat->held, (struct seq){ position.ms, position.n });
}

static void service_has_room(struct session *session)
{
    if (session->seat->address)
        want(session->office->service, session->seat->address);
}

/* What one `ack` acknowledges, and those of it whose senders asked to be told. */
struct acknowledged {
    struct session *session;
    struct seq *asked;
    size_t asked_count;
};

static void on_acknowledged(void *arg, const struct service_letter *letter)
{
    struct acknowledged *all = arg;
    struct session *session = all->session;

    if (seq_compare(letter->seq, session->cursor) > 0)
        session->cursor = letter->seq;
    if (letter->receipt)
        all->asked[all->asked_count++] = letter->seq;
    if (add_ack(session->seat->address, letter->seq))
        log_error("service_ack_lost", "reason=no-memory"); /* another session gets it once more */
}

static bool service_ack(struct session *session, struct seq seq)
{
    struct service_seat *seat = session->seat;
    struct acknowledged all = { .session = session };
    bool any = false;

    if (!seat->address || seat->held.count == 0)
        return false;
    all.asked = malloc(seat->held.count * sizeof *all.asked);
    if (all.asked)
        any = service_held_ack(&seat->held, seq, on_acknowledged, &all);
    if (!all.asked ||
        (all.asked_count && service_receipts_owe(session, all.asked, all.asked_count)))
        conn_abort(&session->conn); /* no memory: others get it, and acknowledge it */
    free(all.asked);
    if (any && session->seat)
        want(session->office->service, session->seat->address);
    return any;
}

/* ---- news ---- */

void service_news(struct office *office, struct slice text)
{
    struct service_address *address = need(office->service, text);

    if (address)
        want(office->service, address);
}

static void service_read_on(struct session *session)
{
    service_news(session->office, session_address(session));
}

/* A doorbell of a worker that does not know the address as a service's: Redis is asked who gets the
 * message. */
static void service_offer(struct session *session, struct seq seq, struct seq before,
                          struct slice skip_device, struct msg *msg)
{
    (void)seq;
    (void)before;
    (void)skip_device;
    (void)msg;
    service_read_on(session);
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
    seat->address = need(office->service, session_address(session));
    if (!seat->address)
        return ERR_NOMEM;
    seat->next = seat->address->seats;
    seat->address->seats = seat;
    return OK;
}

/* Fewer workers of other hosts than at the last look? (After a death on this one carrier_read_on
 * has all addresses looked at.) */
static bool far_ones_died(struct service *service)
{
    uint32_t count = nodes_count(service->office->nodes), before = service->far_count;

    service->far_count = count;
    return count < before;
}

void service_beat(struct office *office)
{
    struct service *service = office->service;
    bool death = far_ones_died(service);

    service->beats++;
    service_receipts_retry(office);
    for (uint32_t i = 0; i < BUCKETS; i++)
        for (struct service_address *a = service->buckets[i]; a; a = a->next)
            if (a->failed ||
                (a->seats && (death || a->busy || (service->beats + a->key.hi) % LOOK_BEATS == 0)))
                want(service, a);
}

/* ---- making it ---- */

struct service *service_new(struct office *office)
{
    struct service *service = calloc(1, sizeof *service);

    if (service) {
        service->office = office;
        buf_init(&service->alive, PLACES_TEXT_MAX);
    }
    the_service = service;
    return service;
}

void service_free(struct service *service)
{
    if (!service)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        struct service_address *address;
        while ((address = service->buckets[i])) {
            service->buckets[i] = address->next;
            free_address(address);
        }
    }
    service_receipts_fini();
    buf_fini(&service->alive);
    free(service);
}
