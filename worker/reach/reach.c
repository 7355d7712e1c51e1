#include "worker/reach/reach.h"

#include <stdlib.h>

struct reach {
    struct bus *bus;
    struct relay *relay;
    struct region *region;
    uint32_t slot;
};

enum worker_redis reach_redis(const struct reach *reach)
{
    if (!bus_is_configured(reach->bus))
        return WORKER_REDIS_NONE;
    return bus_is_up(reach->bus) ? WORKER_REDIS_UP : WORKER_REDIS_AWAY;
}

int reach_accepted_state(const struct reach *reach)
{
    return reach_redis(reach) == WORKER_REDIS_NONE ? 2 : 1;
}

/* A PUBLISH arrives when Redis is up at both workers; each worker publishes its own state. While
 * older frames wait for room in the ring, younger ones must not overtake them through Redis. */
static bool redis_leads_to(const struct reach *reach, uint32_t slot)
{
    return slot < WORKERS_MAX && reach_redis(reach) == WORKER_REDIS_UP &&
           slot_redis(reach->region, slot) == WORKER_REDIS_UP && !relay_waits(reach->relay, slot);
}

bool reach_can_carry(const struct reach *reach, uint64_t workers, const struct slice *recipients,
                     size_t recipient_count, const struct msg *msg)
{
    if (relay_can_carry(recipients, recipient_count, msg))
        return true;
    for (uint64_t left = workers; left; left &= left - 1)
        if (!redis_leads_to(reach, (uint32_t)__builtin_ctzll(left)))
            return false;
    return true;
}

enum err reach_publish(struct reach *reach, uint32_t slot, const struct slice *recipients,
                       size_t recipient_count, const struct msg *msg, bus_heard_cb heard, void *arg)
{
    bool mail = msg->kind == MSG_MAIL;
    enum err err;

    if (mail ? bus_is_configured(reach->bus) : redis_leads_to(reach, slot))
        return bus_publish(reach->bus, slot, recipients, recipient_count, msg, heard, arg);
    err = relay_publish(reach->relay, slot, recipients, recipient_count, msg);
    if (!err && heard)
        heard(arg, true);
    return err;
}

enum err reach_kick(struct reach *reach, uint32_t slot, uint64_t incarnation,
                    uint64_t session_number, uint16_t close_code)
{
    if (redis_leads_to(reach, slot))
        return bus_kick(reach->bus, slot, incarnation, session_number, close_code);
    return relay_kick(reach->relay, slot, incarnation, session_number, close_code);
}

enum err reach_send(struct reach *reach, uint32_t slot, uint64_t incarnation,
                    const struct bus_frame *frame)
{
    return relay_send(reach->relay, slot, incarnation, frame);
}

void reach_set_wait_bytes(struct reach *reach, uint64_t bytes)
{
    relay_set_wait_bytes(reach->relay, bytes);
}

void reach_catch_up(struct reach *reach)
{
    relay_catch_up(reach->relay);
}

void reach_flush(struct reach *reach)
{
    enum worker_redis redis = reach_redis(reach);

    if (slot_redis(reach->region, reach->slot) != redis)
        slot_set_redis(reach->region, reach->slot, redis);
    relay_flush(reach->relay);
    bus_flush(reach->bus);
}

const char *reach_redis_text(enum worker_redis redis)
{
    return redis == WORKER_REDIS_NONE ? "none" : redis == WORKER_REDIS_UP ? "up" : "away";
}

struct reach *reach_new(struct loop *loop, struct region *region, struct stats_row *stats,
                        uint32_t slot, struct bus *bus, const struct bus_events *events)
{
    struct reach *reach = calloc(1, sizeof *reach);

    if (!reach)
        return NULL;
    reach->bus = bus;
    reach->region = region;
    reach->slot = slot;
    reach->relay = relay_new(loop, region, stats, slot, events);
    if (!reach->relay) {
        free(reach);
        return NULL;
    }
    return reach;
}

void reach_free(struct reach *reach)
{
    if (!reach)
        return;
    relay_free(reach->relay);
    free(reach);
}
