#include "worker/session/service_turn.h"

#include "common/address.h"
#include "worker/reach/nodes.h"
#include "worker/mailbox/place.h"
#include "worker/session/session.h"

enum { PLACES_MAX = 128, TURNS = 256 };

/* By key: how often one was chosen. Addresses that share one only begin elsewhere. */
static uint32_t turns[TURNS];

bool service_is(const struct office *office, struct slice address)
{
    const struct config_list *patterns = &office->config->service_addresses;

    for (size_t i = 0; i < patterns->count; i++)
        if (pattern_covers(slice_of(patterns->items[i]), address))
            return true;
    return false;
}

uint64_t service_choose(struct office *office, struct address_key key)
{
    struct session_place places[PLACES_MAX];
    size_t count = sessions_find(office->region, key, places, PLACES_MAX);
    uint32_t *turn = &turns[key.lo % TURNS], slot;

    if (count == 0)
        return 0;
    slot = places[(*turn)++ % (count < PLACES_MAX ? count : PLACES_MAX)].slot;
    return slot == office->slot ? 0 : (uint64_t)1 << slot;
}

size_t service_choose_far(struct office *office, struct slice address, const struct slice **fields,
                          size_t count)
{
    struct address_key key = sessions_key(office->region, address);
    uint32_t turn = turns[key.lo % TURNS]++;

    for (size_t i = 0; i < count; i++) {
        const struct slice *field = &(*fields)[(turn + i) % count];
        if (nodes_live(office->nodes, place_of_field(*field))) {
            *fields = field;
            return 1;
        }
    }
    return 0;
}

struct session *service_turn(struct directory_entry *entry)
{
    struct session **at = &entry->sessions, **best = NULL, *chosen;

    for (; *at; at = &(*at)->next_same)
        if (!best || conn_waiting(&(*at)->conn) < conn_waiting(&(*best)->conn))
            best = at;
    if (!best)
        return NULL;
    chosen = *best;
    *best = chosen->next_same;
    at = &entry->sessions;
    while (*at)
        at = &(*at)->next_same;
    chosen->next_same = NULL;
    *at = chosen;
    return chosen;
}
