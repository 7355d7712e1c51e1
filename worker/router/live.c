#include "worker/router/live.h"

#include "common/address.h"
#include "shm/histograms.h"
#include "worker/delivery/ticket.h"
#include "worker/envelope/postmaster.h"
#include "worker/groups/groups.h"
#include "worker/mailbox/mailbox.h"
#include "worker/reach/far_signal.h"
#include "worker/reach/nodes.h"
#include "worker/reach/reach.h"
#include "worker/service/service.h"

struct live_recipient {
    struct address_key key;
    uint64_t elsewhere; /* bit w: worker w has sessions of the address; this worker's bit is 0 */
    bool served;        /* a session of this worker has taken the message */
};

/* One message on its way. */
struct live {
    struct office *office;
    const struct envelope *envelope;
    struct msg *msg;
    struct live_recipient *recipients; /* as the envelope's, in its order; in the arena */
    uint64_t workers;                  /* elsewhere of all recipients together */
};

/* ---- where the recipients are ---- */

static enum err find_recipients(struct live *live, struct envelope_fault *fault)
{
    struct office *office = live->office;
    const struct envelope *envelope = live->envelope;
    uint64_t here = (uint64_t)1 << office->slot;

    live->recipients =
        arena_take(&office->arena, envelope->recipient_count * sizeof *live->recipients);
    if (!live->recipients)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        struct live_recipient *recipient = &live->recipients[i];
        recipient->key = sessions_key(office->region, envelope->recipients[i]);
        recipient->elsewhere = service_is(office, envelope->recipients[i])
                                   ? service_choose(office, recipient->key)
                                   : sessions_workers(office->region, recipient->key) & ~here;
        live->workers |= recipient->elsewhere;
    }
    return OK;
}

/* ---- sessions of this worker ---- */

static bool deliver_to_session(struct session *session, struct msg *msg)
{
    struct office *office = session->office;
    enum err err = conn_send(&session->conn, msg);

    if (err == ERR_FULL && msg->kind == MSG_MAIL) {
        /* Mail is never shed. Without Redis no mailbox keeps it for later, so the close tells the
         * device that it missed mail. */
        stats_add(office->stats, STAT_slow_closed, 1);
        stats_add(office->stats, STAT_mail_undelivered, 1);
        conn_close_now(&session->conn, WS_CLOSE_TOO_SLOW, SLICE("too slow"));
    } else if (err == ERR_NOMEM && msg->kind == MSG_MAIL) {
        stats_add(office->stats, STAT_mail_undelivered, 1);
        conn_abort_no_memory(&session->conn);
    }
    if (err == OK)
        session_count_delivery(office);
    return err == OK;
}

/* To every session of the address here; of a service address to one session; of a group to its
 * subscribers. Returns how many took it. */
static unsigned deliver_here(struct office *office, struct address_key key, struct slice address,
                             struct msg *msg)
{
    struct directory_entry *entry = directory_find(&office->directory, key, address);
    struct session *session = entry ? entry->sessions : NULL, *next;
    unsigned taken = 0;

    if (address_is_group(address))
        return groups_deliver(office, entry, msg);
    if (session && session->seat)
        return deliver_to_session(service_turn(entry), msg);
    for (; session; session = next) {
        next = session->next_same; /* the session may leave the list when sending to it fails */
        taken += deliver_to_session(session, msg);
    }
    return taken;
}

void live_deliver(struct office *office, const struct slice *recipients, size_t recipient_count,
                  struct msg *msg)
{
    office->is_relaying = true;
    for (size_t i = 0; i < recipient_count; i++)
        if (deliver_here(office, sessions_key(office->region, recipients[i]), recipients[i], msg) ==
            0)
            stats_add(office->stats, STAT_deliveries_missed, 1);
    office->is_relaying = false;
}

/* Of a service address one session takes the message, and that session is on another worker. */
static bool is_only_elsewhere(const struct live *live, size_t i)
{
    return live->recipients[i].elsewhere && service_is(live->office, live->envelope->recipients[i]);
}

/* Marks the recipients that are served here, and returns how many those are. */
static size_t deliver_all_here(struct live *live)
{
    size_t served = 0;

    for (size_t i = 0; i < live->envelope->recipient_count; i++) {
        struct live_recipient *recipient = &live->recipients[i];
        recipient->served = !is_only_elsewhere(live, i) &&
                            deliver_here(live->office, recipient->key,
                                         live->envelope->recipients[i], live->msg) > 0;
        /* A post to a group without subscribers has reached all of them. */
        if (!recipient->served && !recipient->elsewhere && live->envelope->type == TYPE_POST)
            recipient->served = true;
        served += recipient->served;
    }
    return served;
}

/* ---- other workers of this host ---- */

/* Fills in the recipients that worker `slot` has: their addresses, and their indexes in the
 * envelope. Returns how many. */
static size_t select_recipients(const struct live *live, uint32_t slot, struct slice *addresses,
                                uint32_t *indexes)
{
    size_t count = 0;

    for (size_t i = 0; i < live->envelope->recipient_count; i++)
        if (live->recipients[i].elsewhere >> slot & 1) {
            addresses[count] = live->envelope->recipients[i];
            indexes[count++] = (uint32_t)i;
        }
    return count;
}

/* Once to each worker. ticket: waits for the workers' answers; NULL for a signal. */
static void publish_elsewhere(struct live *live, struct ticket *ticket)
{
    struct office *office = live->office;
    size_t room = live->envelope->recipient_count;
    struct slice *addresses = arena_take(&office->arena, room * sizeof *addresses);
    uint32_t *indexes = arena_take(&office->arena, room * sizeof *indexes);

    if (!addresses || !indexes) {
        if (!ticket) /* a ticket names the recipients as not served */
            stats_add(office->stats, STAT_publishes_unheard,
                      (uint64_t)__builtin_popcountll(live->workers));
        return;
    }
    for (uint64_t left = live->workers; left; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(left);
        size_t count = select_recipients(live, slot, addresses, indexes);
        struct ticket_part *part = ticket ? ticket_wait(ticket, indexes, count) : NULL;
        if (ticket && !part)
            continue;
        if (reach_publish(office->reach, slot, addresses, count, live->msg,
                          part ? ticket_heard : NULL, part) == OK) {
            stats_add(office->stats, STAT_handed_to_workers, count);
            continue;
        }
        if (part)
            ticket_unsent(part);
        else
            stats_add(office->stats, STAT_publishes_unheard, 1); /* a signal that never left */
    }
}

/* ---- signals ---- */

static bool is_on_this_host(const struct live_recipient *recipient)
{
    return recipient->served || recipient->elsewhere;
}

static void count_unheard(const struct live *live)
{
    for (size_t i = 0; i < live->envelope->recipient_count; i++)
        if (!is_on_this_host(&live->recipients[i]))
            stats_add(live->office->stats, STAT_signals_unheard, 1);
}

/* To the recipients' sessions on other hosts; far_signal counts the recipients that have none
 * anywhere. */
static void signal_abroad(struct live *live)
{
    struct office *office = live->office;
    size_t count = live->envelope->recipient_count;
    bool *heard = arena_take(&office->arena, count * sizeof *heard);

    if (!heard) {
        stats_add(office->stats, STAT_publishes_unheard, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        heard[i] = is_on_this_host(&live->recipients[i]);
    far_signal(office, live->envelope->recipients, heard, count, live->msg);
}

enum err live_send_signal(struct session *session, const struct envelope *envelope, struct msg *msg,
                          struct envelope_fault *fault)
{
    struct office *office = session->office;
    struct live live = { .office = office, .envelope = envelope, .msg = msg };

    if (find_recipients(&live, fault))
        return ERR_BAD;
    /* All recipients or none: the sender must not have to guess which of them were in reach. */
    if (live.workers && !reach_can_carry(office->reach, live.workers, envelope->recipients,
                                         envelope->recipient_count, msg))
        return envelope_reject(
            fault, REJECT_STORAGE_UNAVAILABLE, NULL,
            "a recipient is on another worker, and without Redis this is too large");
    deliver_all_here(&live);
    if (live.workers)
        publish_elsewhere(&live, NULL);
    if (nodes_any(office->nodes) && mailbox_is_up(office->mailbox))
        signal_abroad(&live);
    else
        count_unheard(&live);
    return OK;
}

/* ---- mail where nothing is stored ---- */

/* No other worker has to answer, and no older message of the session waits for its answer. */
static bool can_answer_at_once(const struct live *live, const struct session *session)
{
    return live->workers == 0 && !session->tickets && live->envelope->recipient_count == 1;
}

static void say_accepted(struct session *session, struct slice id)
{
    struct office *office = session->office;
    struct msg *answer = postmaster_accepted(session_address(session), id,
                                             reach_accepted_state(office->reach), NULL, 0);

    stats_add(office->stats, STAT_accepted, 1);
    histogram_add(office->stats, HISTOGRAM_ACCEPT, 0); /* in the turn that the message came in */
    session_say(session, answer);
}

static void mark_served(const struct live *live, struct ticket *ticket)
{
    for (size_t i = 0; i < live->envelope->recipient_count; i++)
        ticket->recipients[i].served = live->recipients[i].served;
}

enum err live_send_mail(struct session *session, const struct envelope *envelope, struct msg *msg,
                        struct envelope_fault *fault)
{
    struct live live = { .office = session->office, .envelope = envelope, .msg = msg };
    struct ticket *ticket;

    if (find_recipients(&live, fault))
        return ERR_BAD;
    if (can_answer_at_once(&live, session) && deliver_all_here(&live) == 1) {
        say_accepted(session, envelope->id);
        return OK;
    }
    ticket = ticket_new(session, envelope->id, envelope->recipients, envelope->recipient_count);
    if (!ticket)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    deliver_all_here(&live);
    mark_served(&live, ticket);
    if (live.workers)
        publish_elsewhere(&live, ticket);
    ticket_settle(ticket);
    return OK;
}
