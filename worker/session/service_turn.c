#include "worker/session/service_turn.h"

#include "worker/session/session.h"

enum { PLACES_MAX = 128 };

bool service_is(const struct office *office, struct slice address)
{
    return config_covers(&office->config->service_addresses, address);
}

bool service_or_known(const struct office *office, struct slice address)
{
    return config_covers(&office->config->mailbox.known_addresses, address) ||
           service_is(office, address);
}

uint32_t service_turn_next(struct office *office, struct address_key key)
{
    return office->service_turns[key.lo % SERVICE_TURNS]++;
}

uint64_t service_choose(struct office *office, struct address_key key)
{
    struct session_row places[PLACES_MAX];
    size_t count = sessions_find(office->region, key, places, PLACES_MAX);
    uint32_t slot;

    if (count == 0)
        return 0;
    slot = places[service_turn_next(office, key) % (count < PLACES_MAX ? count : PLACES_MAX)].slot;
    return slot == office->slot ? 0 : (uint64_t)1 << slot;
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
