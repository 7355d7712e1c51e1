#include "worker/entrance/openings.h"

#include "worker/session/service_turn.h"

static struct session_opening **bucket_of(const struct session_opening *opening)
{
    struct office *office = opening->office;
    uint64_t hash = sessions_key(office->region, opening->address).lo;

    return &office->openings[hash % OPENINGS_BUCKETS];
}

static bool waits(const struct session_opening *opening)
{
    return opening->listed && !opening->has_turn;
}

static void give_way(struct session_opening *opening, const char *why)
{
    openings_leave(opening);
    stats_add(opening->office->stats, STAT_replaced, 1);
    session_say_goodbye(opening->session, WS_CLOSE_REPLACED, why, 0);
}

/* The sessions of a service address are no devices. */
static bool is_replaced(const struct session_opening *opening, const struct session_opening *by)
{
    return !service_is(by->office, by->address) &&
           slice_equal(session_device(opening->session), session_device(by->session));
}

static size_t waiting_max(const struct session_opening *opening)
{
    const struct config *config = opening->office->config;

    return (size_t)(service_is(opening->office, opening->address) ? config->sessions.per_service
                                                                  : config->sessions.per_address);
}

/* `opening` is the newest in its bucket, and the oldest stands first. */
static void turn_out_surplus(struct session_opening *opening)
{
    struct session_opening *oldest = NULL, *next;
    size_t count = 0;

    for (struct session_opening *other = *bucket_of(opening); other != opening; other = next) {
        next = other->next;
        if (!waits(other) || !slice_equal(other->address, opening->address))
            continue;
        if (is_replaced(other, opening)) {
            give_way(other, "a newer session of this device took its place");
            continue;
        }
        oldest = oldest ? oldest : other;
        count++;
    }
    if (oldest && count >= waiting_max(opening))
        give_way(oldest, "too many sessions of this address");
}

bool openings_enter(struct session_opening *opening)
{
    struct session_opening **at = bucket_of(opening);
    bool is_first = true;

    for (; *at; at = &(*at)->next)
        is_first = is_first && !slice_equal((*at)->address, opening->address);
    *at = opening;
    opening->next = NULL;
    opening->listed = true;
    opening->has_turn = is_first;
    if (!is_first)
        turn_out_surplus(opening);
    return is_first;
}

struct session_opening *openings_leave(struct session_opening *opening)
{
    struct session_opening **at = bucket_of(opening), *next;

    if (!opening->listed)
        return NULL;
    while (*at != opening)
        at = &(*at)->next;
    next = *at = opening->next;
    opening->listed = false;
    if (!opening->has_turn)
        return NULL;
    while (next && !slice_equal(next->address, opening->address))
        next = next->next;
    if (next)
        next->has_turn = true;
    return next;
}
