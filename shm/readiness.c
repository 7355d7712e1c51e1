#include "shm/readiness.h"

#include "shm/slots.h"

/* A worker that starts has not shown a sign yet: its start is the first. */
static uint64_t last_sign_ms(const struct worker_view *worker)
{
    return worker->heartbeat_ms > worker->started_ms ? worker->heartbeat_ms : worker->started_ms;
}

void readiness_look(const struct region *region, uint64_t now_ms, bool draining,
                    struct readiness *readiness)
{
    struct worker_view worker;
    uint32_t leaving = 0;

    *readiness = (struct readiness){ .draining = draining };
    for (uint32_t slot = 0; slot < slots_used(region); slot++) {
        slot_view(region, slot, &worker);
        if (worker.incarnation == 0 || worker.is_clerk)
            continue;
        readiness->serving += worker.state == WORKER_SERVING;
        leaving += worker.state == WORKER_DRAINING;
        readiness->redis_away |=
            worker.state == WORKER_SERVING && worker.redis == WORKER_REDIS_AWAY;
        readiness->view_stale |= now_ms > last_sign_ms(&worker) + READINESS_STALE_MS;
    }
    readiness->draining |= readiness->serving == 0 && leaving > 0;
    readiness->no_worker = readiness->serving == 0 && !readiness->draining;
}

size_t readiness_reasons(const struct readiness *readiness,
                         const char *reasons[READINESS_REASONS_MAX])
{
    size_t count = 0;

    if (readiness->no_worker)
        reasons[count++] = "no-worker";
    if (readiness->draining)
        reasons[count++] = "draining";
    if (readiness->redis_away)
        reasons[count++] = "redis-away";
    if (readiness->view_stale)
        reasons[count++] = "view-stale";
    return count;
}

bool readiness_json(const struct readiness *readiness, struct buf *out)
{
    const char *reasons[READINESS_REASONS_MAX];
    size_t count = readiness_reasons(readiness, reasons);

    buf_addf(out, "{\"status\":\"%s\",\"workers\":%u,\"reasons\":[", count ? "not-ready" : "ready",
             readiness->serving);
    for (size_t i = 0; i < count; i++)
        buf_addf(out, "%s\"%s\"", i ? "," : "", reasons[i]);
    buf_add_text(out, "]}\n");
    return count == 0;
}
