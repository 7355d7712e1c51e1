#include "worker/reach/nodes.h"
#include "worker/mailbox/mailbox.h"
#include "worker/reach/bus.h"

#include "common/clock.h"
#include "common/log.h"
#include "shm/slots.h"
#include "worker/mailbox/mailbox_places.h"

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
    uint32_t asked;              /* renewals on their way */
    uint64_t losses, own_losses; /* the count in Redis, and of this worker, as last seen */
    bool known;
    bool lost, reporting; /* to be told; and being told */
};

/* --- the table --- */

static void forget_all(struct nodes *nodes)
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

static bool reserve(struct nodes *nodes)
{
    uint32_t size = nodes->live_size ? nodes->live_size * 2 : 16;
    struct live_place *live;

    if (nodes->live_count < nodes->live_size)
        return true;
    live = realloc(nodes->live, size * sizeof *live);
    if (!live)
        return false;
    nodes->live = live;
    nodes->live_size = size;
    return true;
}

/* Without memory the next renewal adds it. */
static void add(struct nodes *nodes, struct slice place)
{
    struct live_place *live;

    if (!reserve(nodes))
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

bool nodes_known(const struct nodes *nodes)
{
    return !nodes || nodes->known;
}

/* --- leases --- */

static void take(struct nodes *nodes, struct slice place)
{
    switch (nodes_where(nodes, place)) {
    case NODES_AWAY:
        add(nodes, place);
        break;
    case NODES_GONE: /* it died without a word: its lease ends now, and its sessions are no more */
        nodes->lost = true;
        mailbox_end_lease(nodes->office->mailbox, place);
        break;
    case NODES_HERE:
        break;
    }
}

/* What this worker has told itself, the others of its host know by themselves. */
static void take_losses(struct nodes *nodes, uint64_t losses)
{
    bool news = nodes->known && losses != nodes->losses + nodes->reporting;

    nodes->losses = losses;
    nodes->reporting = false;
    if (news)
        nodes->events.lost(nodes->events.arg);
}

static void take_places(struct nodes *nodes, const struct mailbox_lease_answer *answer)
{
    uint32_t before = nodes->live_count;

    forget_all(nodes);
    for (size_t i = 0; i < answer->count; i++)
        take(nodes, answer->places[i]);
    if (nodes->live_count != before)
        log_info("other_nodes", "workers=%u", nodes->live_count);
    stats_set(nodes->office->stats, STAT_workers_elsewhere, nodes->live_count);
}

static void on_leased(void *arg, const struct mailbox_lease_answer *answer)
{
    struct nodes *nodes = arg;

    nodes->asked--;
    if (!answer->ok) { /* read-only, out of memory: nobody can renew, and what was known stays */
        nodes->lost |= nodes->reporting;
        nodes->reporting = false;
        return;
    }
    nodes->office->clock_ahead_ns =
        (int64_t)(answer->now_us * 1000) - (int64_t)clock_monotonic_ns();
    take_losses(nodes, answer->losses);
    take_places(nodes, answer);
    if (!nodes->known) {
        nodes->known = true;
        nodes->events.known(nodes->events.arg);
    }
}

/* Were doorbells lost that nobody on other hosts knows of? */
static bool has_news(struct nodes *nodes)
{
    uint64_t own = stats_get(nodes->office->stats, STAT_doorbells_lost);

    nodes->lost |= own != nodes->own_losses;
    nodes->own_losses = own;
    return nodes->lost && nodes_any(nodes);
}

void nodes_renew(struct nodes *nodes)
{
    struct office *office = nodes->office;
    bool lost = has_news(nodes);

    if (mailbox_lease(office->mailbox, office->config->node_lease_s, buf_slice(&nodes->hello), lost,
                      on_leased, nodes))
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
    add(nodes, place);
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
    forget_all(nodes);
    free(nodes->live);
    buf_fini(&nodes->hello);
    free(nodes);
}
