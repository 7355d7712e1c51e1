#include "worker/entrance/rivals.h"

#include "worker/mailbox/mailbox_places.h"
#include "worker/reach/nodes.h"
#include "worker/reach/reach.h"
#include "worker/reach/remote.h"
#include "worker/mailbox/mailbox.h"
#include "worker/reach/bus.h"
#include "worker/session/allowance.h"

#include <stdatomic.h>

enum {
    RIVALS_MAX = 128, /* sessions of one address on this host, and as many on others, compared */
};

struct rival {
    uint64_t since_ns, number, incarnation;
    struct slice device;
    struct slice place; /* of another host; data NULL: of this one */
    uint32_t slot;
};

/* --- order --- */

/* Is a older than b? Redis gives no time twice; two sessions that began in the same nanosecond of
 * this host's clock have an order by slot and number. */
static bool older(const struct rival *a, const struct rival *b)
{
    if (a->since_ns != b->since_ns)
        return a->since_ns < b->since_ns;
    return a->slot != b->slot ? a->slot < b->slot : a->number < b->number;
}

static bool same_device(const struct rival *a, const struct rival *b)
{
    return slice_equal(a->device, b->device);
}

/* The index of the oldest; count is not 0. */
static size_t oldest_of(const struct rival *rivals, size_t count)
{
    size_t oldest = 0;

    for (size_t i = 1; i < count; i++)
        if (older(&rivals[i], &rivals[oldest]))
            oldest = i;
    return oldest;
}

/* --- gathering --- */

static struct rival self_of(const struct session *session)
{
    return (struct rival){ .since_ns = session->since_ns,
                           .number = session->number,
                           .device = session_device(session),
                           .slot = session->office->slot };
}

/* The sessions of this host, without the session itself. */
static size_t gather_here(const struct session *session, struct session_row *places,
                          struct rival *rivals)
{
    const struct office *office = session->office;
    size_t found = sessions_find(office->region, session->entry->key, places, RIVALS_MAX),
           count = 0;

    for (size_t i = 0; i < found && i < RIVALS_MAX; i++) {
        if (places[i].slot == office->slot && places[i].number == session->number)
            continue;
        rivals[count++] =
            (struct rival){ .since_ns = places[i].since_ns,
                            .number = places[i].number,
                            .incarnation = places[i].incarnation,
                            .device = slice_make(places[i].device, places[i].device_len),
                            .slot = places[i].slot };
    }
    return count;
}

/* An entry of a dead worker is removed. The worker may only seem dead, because no lease could be
 * renewed for a while: when the entry is a newer session of the device, all sessions catch up again
 * soon, and compare again. */
static void meet_ghost(const struct session *session, const struct at_session *ghost)
{
    struct office *office = session->office;

    mailbox_forget_place(office->mailbox, session_address(session), ghost->place);
    if (slice_equal(ghost->device, session_device(session)) &&
        ghost->opened_us * 1000 > session->since_ns)
        office->catch_up_again = true;
}

/* The sessions of other hosts whose workers live. */
static size_t gather_away(const struct session *session, const struct at_session *others,
                          size_t other_count, struct rival *rivals)
{
    struct office *office = session->office;
    size_t count = 0;

    for (size_t i = 0; office->nodes && i < other_count && count < RIVALS_MAX; i++) {
        if (nodes_where(office->nodes, others[i].place) == NODES_HERE)
            continue;
        if (!nodes_live(office->nodes, others[i].place)) {
            meet_ghost(session, &others[i]);
            continue;
        }
        rivals[count++] = (struct rival){ .since_ns = others[i].opened_us * 1000,
                                          .number = others[i].number,
                                          .device = others[i].device,
                                          .place = others[i].place };
    }
    return count;
}

/* --- turning out --- */

static void turn_out(struct session *by, const struct rival *rival, const char *why)
{
    struct office *office = by->office;
    struct session *session;

    if (rival->place.data) {
        remote_tell(office, rival->place, session_address(by),
                    &(struct bus_frame){ .kind = BUS_KICK,
                                         .session_number = rival->number,
                                         .close_code = WS_CLOSE_REPLACED });
        return;
    }
    if (rival->slot != office->slot) {
        /* rivals_check_replaced makes up for a kick that is lost with the connection to Redis. */
        if (reach_kick(office->reach, rival->slot, rival->incarnation, rival->number,
                       WS_CLOSE_REPLACED) == ERR_NOMEM) {
            stats_add(office->stats, STAT_publishes_unheard, 1);
            office->catch_up_again = true; /* the rivals meet once more */
        }
        return;
    }
    session = session_by_number(office, rival->number);
    if (!session || !conn_is_open(&session->conn))
        return;
    stats_add(office->stats, STAT_replaced, 1);
    session_say_goodbye(session, WS_CLOSE_REPLACED, why, 0);
}

static bool give_way(struct session *session, const char *why)
{
    stats_add(session->office->stats, STAT_replaced, 1);
    session_say_goodbye(session, WS_CLOSE_REPLACED, why, 0);
    return false;
}

static const char newer_text[] = "a newer session of this device took its place",
                  many_text[] = "too many sessions of this address";

/* Turns out the older sessions of the same device and takes the device's sessions out of the array.
 * Returns false when one of them is newer than the session itself. */
static bool meet_device(struct session *session, const struct rival *self, struct rival *rivals,
                        size_t *count)
{
    size_t left = 0;
    bool newest = true, turned_out = false;

    for (size_t i = 0; i < *count; i++) {
        if (!same_device(&rivals[i], self))
            rivals[left++] = rivals[i];
        else if (!older(&rivals[i], self))
            newest = false;
        else {
            turn_out(session, &rivals[i], newer_text);
            turned_out = true;
        }
    }
    *count = left;
    if (turned_out)
        allowance_note_device_replaced(session->office, session_address(session),
                                       session_device(session));
    return newest;
}

/* Is since_ns by the clock of Redis, and not only by this host's? Of two sessions that begin at
 * once, the newer may have looked before the older could be found: then the older has to go by
 * itself, and for that the session must be sure to be the older. */
static bool knows_its_order(const struct session *session)
{
    const struct office *office = session->office;

    return session->ordered || !office->mailbox || nodes_known(office->nodes);
}

static size_t newer_than(const struct rival *self, const struct rival *rivals, size_t count)
{
    size_t newer = 0;

    for (size_t i = 0; i < count; i++)
        newer += older(self, &rivals[i]);
    return newer;
}

/* How many sessions the address may have beside this one. */
static size_t others_max(const struct session *session)
{
    const struct config *config = session->office->config;

    return (size_t)(session->seat ? config->sessions.per_service : config->sessions.per_address) -
           1;
}

static void meet_all(struct session *session, const struct rival *self, struct rival *rivals,
                     size_t count)
{
    bool turned_out = false;

    while (count > others_max(session)) {
        size_t oldest = oldest_of(rivals, count);
        if (!older(&rivals[oldest], self))
            break;
        turn_out(session, &rivals[oldest], many_text);
        turned_out = true;
        rivals[oldest] = rivals[--count];
    }
    if (turned_out)
        allowance_note_replaced(session->office, session_address(session));
}

bool rivals_meet(struct session *session, const struct at_session *others, size_t other_count)
{
    struct session_row places[RIVALS_MAX];
    struct rival rivals[2 * RIVALS_MAX], self = self_of(session);
    size_t count;

    /* The session's own row was written before the rows of others are read here: of two sessions
     * that begin at once, at least one sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    count = gather_here(session, places, rivals);
    count += gather_away(session, others, other_count, rivals + count);
    if (!session->seat && !meet_device(session, &self, rivals, &count) && knows_its_order(session))
        return give_way(session, newer_text);
    if (knows_its_order(session) && newer_than(&self, rivals, count) > others_max(session))
        return give_way(session, many_text);
    meet_all(session, &self, rivals, count);
    return true;
}

void rivals_greet(struct session *session, const struct at_session *others, size_t other_count)
{
    struct office *office = session->office;
    struct rival rivals[RIVALS_MAX];
    size_t count = session->seat ? 0 : gather_away(session, others, other_count, rivals);

    for (size_t i = 0; i < count; i++)
        if (!slice_equal(rivals[i].device, session_device(session)))
            remote_tell(
                office, rivals[i].place, session_address(session),
                &(struct bus_frame){ .kind = BUS_COMPANY, .session_number = rivals[i].number });
}

static bool is_replaced(const struct session *session)
{
    struct session_row places[RIVALS_MAX];
    struct rival rivals[RIVALS_MAX], self = self_of(session);
    size_t count = session->seat ? 0 : gather_here(session, places, rivals);

    for (size_t i = 0; i < count; i++)
        if (same_device(&rivals[i], &self) && older(&self, &rivals[i]))
            return true;
    return false;
}

void rivals_check_replaced(struct office *office)
{
    for (uint32_t i = 0; i < office->session_used; i++) {
        struct session *session = office->sessions[i];
        if (session && session->listed && is_replaced(session))
            give_way(session, newer_text);
    }
}
