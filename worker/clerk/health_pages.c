/*
 * Is the process there (live), and can clients be served (ready)? Read from shared memory alone, so
 * the answer needs neither Redis nor a worker.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/clock.h"
#include "shm/readiness.h"

enum { BODY_MAX = 4096 };

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
    const struct office *office = call->clerk->office;
    struct readiness readiness;
    bool is_ready;
    struct buf out;

    readiness_look(office->region, clock_monotonic_ms(), office->draining, &readiness);
    buf_init(&out, BODY_MAX);
    is_ready = readiness_json(&readiness, &out);
    clerk_answer_json(call->request, is_ready ? 200 : 503, &out);
    buf_fini(&out);
}
