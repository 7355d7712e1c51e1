/* GET /api/v1/nodes: the workers that this host knows, its own from shared memory, those of other
 * hosts by their leases. */
#include "worker/clerk/clerk_parts.h"

#include "common/clock.h"
#include "common/json.h"
#include "shm/slots.h"
#include "worker/mailbox/place.h"
#include "worker/reach/nodes.h"
#include "worker/reach/reach.h"

enum { ANSWER_MAX = 4 << 20 };

static const char *state_text(enum worker_state state)
{
    static const char *const texts[] = { "absent", "starting", "serving", "draining" };

    return (unsigned)state < sizeof texts / sizeof texts[0] ? texts[state] : "unknown";
}

static void add_here(const struct office *office, struct buf *out)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct worker_view view;
    bool first = true;

    for (uint32_t slot = 0; slot < slots_used(office->region); slot++) {
        slot_view(office->region, slot, &view);
        if (view.incarnation == 0 || view.is_clerk)
            continue;
        buf_addf(out,
                 "%s{\"worker\":%u,\"run\":\"%llu\",\"pid\":%d,\"state\":\"%s\",\"redis\":\"%s\","
                 "\"sessions\":%u,\"pending\":%u,\"heartbeatAgeMs\":%llu}",
                 first ? "" : ",", slot, (unsigned long long)view.incarnation, view.pid,
                 state_text(view.state), reach_redis_text(view.redis), view.sessions, view.pending,
                 (unsigned long long)(now_ms > view.heartbeat_ms ? now_ms - view.heartbeat_ms : 0));
        first = false;
    }
}

static void add_elsewhere(const struct office *office, struct buf *out)
{
    struct slice text;
    struct place place;
    bool first = true;

    for (uint32_t i = 0; (text = nodes_place(office->nodes, i)).data; i++) {
        if (!place_parse(text, &place))
            continue;
        buf_add_text(out, first ? "{\"node\":" : ",{\"node\":");
        json_add_string(out, place.node);
        buf_addf(out, ",\"worker\":%u,\"run\":\"%llu\"}", place.slot,
                 (unsigned long long)place.incarnation);
        first = false;
    }
}

void clerk_nodes_get(const struct clerk_call *call)
{
    const struct office *office = call->clerk->office;
    struct buf out;

    buf_init(&out, ANSWER_MAX);
    buf_add_text(&out, "{\"node\":");
    json_add_string(&out, slice_of(office->node));
    buf_add_text(&out, ",\"workers\":[");
    add_here(office, &out);
    buf_add_text(&out, "],\"elsewhere\":[");
    add_elsewhere(office, &out);
    buf_add_text(&out, "]}\n");
    clerk_answer_json(call->request, 200, &out);
    buf_fini(&out);
}
