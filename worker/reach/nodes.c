#include "worker/reach/nodes.h"

#include "common/clock.h"
#include "common/grow.h"
#include "common/log.h"
#include "shm/slots.h"
#include "worker/mailbox/mailbox_places.h"
#include "worker/reach/bus.h"

#include <stdlib.h>

struct live_place {
    char *text;
    size_t len;
};

struct nodes {
    struct office *office;
    struct nodes_events events;
    struct place self;
    char self_text[PLACE_MAX];
    struct buf hello;
    struct live_place *live; /* of other hosts */
    uint32_t live_count, live_size;
    uint32_t asked;              /* renewals without an answer */
    uint64_t losses, own_losses; /* the counts of Redis and of this worker, as last seen */
    bool known;                  /* the first answer has come */
    bool lost, reporting;        /* a loss is to be reported; is in a renewal on its way */
};

/* --- the table --- */

static void live_clear(struct nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->live_count; i++)
        free(nodes->live[i].text);
    nodes->live_count = 0;
}

bool nodes_live(const struct nodes *nodes, struct slice place)
{
    for (uint32_t i = 0; nodes && i < nodes->live_count; i++)
        if (slice_equal(slice_make(nodes->live[i].text, nodes->live[i].len), place))
            return true;
    return false;
}

/* When memory is short the place is missing until the next renewal: signals for it are lost and
 * counted as unheard, and mail is not touched. */
static void live_add(struct nodes *nodes, struct slice place)
{
    struct live_place *live;

    if (grow_reserve(&nodes->live, &nodes->live_size, nodes->live_count + 1, 16, SIZE_MAX))
        return;
    live = &nodes->live[nodes->live_count];
    live->text = malloc(place.len + 1);
    if (!live->text)
        return;
    memcpy(live->text, place.data, place.len);
    live->len = place.len;
    nodes->live_count++;
}

enum nodes_where nodes_where(const struct nodes *nodes, struct slice text)
{
    struct place place;

    if (!place_parse(text, &place) || !place_same_host(&place, &nodes->self))
        return NODES_AWAY;
    return place.slot < WORKERS_MAX &&
                   slot_incarnation(nodes->office->region, place.slot) == place.incarnation
               ? NODES_HERE
               : NODES_GONE;
}

bool nodes_any(const struct nodes *nodes)
{
    return nodes && nodes->live_count > 0;
}

uint32_t nodes_count(const struct nodes *nodes)
{
    return nodes ? nodes->live_count : 0;
}

struct slice nodes_place(const struct nodes *nodes, uint32_t n)
{
    if (n >= nodes_count(nodes))
        return (struct slice){ NULL, 0 };
    return slice_make(nodes->live[n].text, nodes->live[n].len);
}

bool nodes_known(const struct nodes *nodes)
{
    return !nodes || nodes->known;
}

/* --- leases --- */

static void take_live_place(struct nodes *nodes, struct slice place)
{
    switch (nodes_where(nodes, place)) {
    case NODES_AWAY:
        live_add(nodes, place);
        break;
    case NODES_GONE: /* the worker died; its lease ends now, its last doorbells may be lost */
        nodes->lost = true;
        mailbox_end_lease(nodes->office->mailbox, place);
        break;
    case NODES_HERE:
        break;
    }
}

/* A count that moved by this worker's own report is no news: workers of this host notice a loss by
 * shared memory. */
static void take_losses(struct nodes *nodes, uint64_t losses)
{
    bool news = nodes->known && losses != nodes->losses + nodes->reporting;

    nodes->losses = losses;
    nodes->reporting = false;
    if (news)
        nodes->events.lost(nodes->events.arg);
}

static void take_live_places(struct nodes *nodes, const struct mailbox_lease_answer *answer)
{
    uint32_t before = nodes->live_count;

    live_clear(nodes);
    for (size_t i = 0; i < answer->count; i++)
        take_live_place(nodes, answer->places[i]);
    if (nodes->live_count != before)
        log_info("other_nodes", "workers=%u", nodes->live_count);
    stats_set(nodes->office->stats, STAT_workers_elsewhere, nodes->live_count);
}

static void on_lease_renewed(void *arg, const struct mailbox_lease_answer *answer)
{
    struct nodes *nodes = arg;

    nodes->asked--;
    if (!answer->ok) { /* Redis is read-only or out of memory: nobody can renew, the table stays */
        nodes->lost |= nodes->reporting;
        nodes->reporting = false;
        return;
    }
    nodes->office->clock_ahead_ns =
        (int64_t)(answer->now_us * 1000) - (int64_t)clock_monotonic_ns();
    take_losses(nodes, answer->losses);
    take_live_places(nodes, answer);
    if (!nodes->known) {
        nodes->known = true;
        nodes->events.known(nodes->events.arg);
    }
}

/* Is there a loss to report to other hosts? With no other host alive there is none: the sessions of
 * a host that comes later read their mailboxes anyhow. */
static bool has_loss_to_report(struct nodes *nodes)
{
    uint64_t own = stats_get(nodes->office->stats, STAT_doorbells_lost);

    nodes->lost |= own != nodes->own_losses;
    nodes->own_losses = own;
    return nodes->lost && nodes_any(nodes);
}

void nodes_renew(struct nodes *nodes)
{
    struct office *office = nodes->office;
    bool lost = has_loss_to_report(nodes);

    if (mailbox_lease(office->mailbox, office->config->node_lease_s, buf_slice(&nodes->hello), lost,
                      on_lease_renewed, nodes))
        return;
    nodes->asked++;
    nodes->reporting |= lost;
    nodes->lost = false;
}

void nodes_beat(struct nodes *nodes)
{
    if (!nodes->asked)
        nodes_renew(nodes);
}

void nodes_leave(struct nodes *nodes)
{
    if (nodes)
        mailbox_end_lease(nodes->office->mailbox, slice_of(nodes->self_text));
}

void nodes_hello(struct nodes *nodes, struct slice place)
{
    if (!nodes || nodes_where(nodes, place) != NODES_AWAY || nodes_live(nodes, place))
        return;
    live_add(nodes, place);
    stats_set(nodes->office->stats, STAT_workers_elsewhere, nodes->live_count);
}

/* --- making it --- */

struct nodes *nodes_new(struct office *office, const struct nodes_events *events)
{
    struct nodes *nodes = calloc(1, sizeof *nodes);
    struct slice self;
    struct bus_frame hello = { .kind = BUS_HELLO };

    if (!nodes)
        return NULL;
    nodes->office = office;
    nodes->events = *events;
    self = slice_make(nodes->self_text,
                      bus_place(nodes->self_text, office->node, office->slot, office->incarnation));
    hello.place = self;
    buf_init(&nodes->hello, (size_t)2 * PLACE_MAX);
    if (!place_parse(self, &nodes->self) || bus_encode(&nodes->hello, &hello)) {
        nodes_free(nodes);
        return NULL;
    }
    return nodes;
}

void nodes_free(struct nodes *nodes)
{
    if (!nodes)
        return;
    live_clear(nodes);
    free(nodes->live);
    buf_fini(&nodes->hello);
    free(nodes);
}
