/*
 * Is the process there (live), and can clients be served (ready)? Read from shared memory alone, so
 * the answer needs neither Redis nor a worker.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/clock.h"
#include "common/json.h"
#include "shm/slots.h"

enum { BODY_MAX = 4096, STALE_MS = 5000 };

/* What stands against serving, over all workers of this host. */
struct view {
    uint32_t serving, draining, away, stale;
};

static struct view look_at_workers(const struct region *region)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct view view = { 0 };
    struct worker_view worker;

    for (uint32_t slot = 0; slot < slots_used(region); slot++) {
        slot_view(region, slot, &worker);
        if (worker.incarnation == 0 || worker.is_clerk)
            continue;
        view.serving += worker.state == WORKER_SERVING;
        view.draining += worker.state == WORKER_DRAINING;
        view.away += worker.state == WORKER_SERVING && worker.redis == WORKER_REDIS_AWAY;
        view.stale += now_ms > worker.heartbeat_ms + STALE_MS;
    }
    return view;
}

static void add_reason(struct buf *out, bool applies, const char *reason)
{
    if (!applies)
        return;
    if (out->data[out->len - 1] != '[')
        buf_add_char(out, ',');
    json_add_string(out, slice_of(reason));
}

void clerk_health_live(const struct clerk_call *call)
{
    struct buf out;

    buf_init(&out, BODY_MAX);
    buf_add_text(&out, "{\"status\":\"live\"}\n");
    clerk_answer_json(call->request, 200, &out);
    buf_fini(&out);
}

void clerk_health_ready(const struct clerk_call *call)
{
    struct view view = look_at_workers(call->clerk->office->region);
    bool is_ready = view.serving && !view.away && !view.stale && !call->clerk->office->draining;
    struct buf out;

    buf_init(&out, BODY_MAX);
    buf_addf(&out, "{\"status\":\"%s\",\"workers\":%u,\"reasons\":[",
             is_ready ? "ready" : "not-ready", view.serving);
    add_reason(&out, view.serving == 0 && view.draining == 0 && !call->clerk->office->draining,
               "no-worker");
    add_reason(&out, call->clerk->office->draining || (view.serving == 0 && view.draining > 0),
               "draining");
    add_reason(&out, view.away > 0, "redis-away");
    add_reason(&out, view.stale > 0, "view-stale");
    buf_add_text(&out, "]}\n");
    clerk_answer_json(call->request, is_ready ? 200 : 503, &out);
    buf_fini(&out);
}
