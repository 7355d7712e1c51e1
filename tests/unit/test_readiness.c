/* What stands against serving, by the slots of the workers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/clock.h"
#include "shm/readiness.h"
#include "shm/slots.h"

#include <string.h>

enum { SLOT = 3, CLERK = 4 };

static struct region *region;

static int make_region(void **state)
{
    char why[256];

    (void)state;
    region = region_create(4, why, sizeof why);
    return region ? 0 : -1;
}

static int drop_region(void **state)
{
    (void)state;
    region_close(region);
    return 0;
}

static void assert_says(uint64_t now_ms, bool draining, const char *line)
{
    struct readiness readiness;
    struct buf out;
    bool is_ready;

    readiness_look(region, now_ms, draining, &readiness);
    buf_init(&out, 4096);
    is_ready = readiness_json(&readiness, &out);
    assert_string_equal(buf_text(&out), line);
    assert_int_equal(is_ready, strstr(line, "\"ready\"") != NULL);
    buf_fini(&out);
}

static void each_reason_has_its_name(void **state)
{
    uint64_t now_ms = clock_monotonic_ms();

    (void)state;
    assert_says(now_ms, false,
                "{\"status\":\"not-ready\",\"workers\":0,\"reasons\":[\"no-worker\"]}\n");
    slot_begin_clerk(region, CLERK); /* counts as none */
    slot_set_state(region, CLERK, WORKER_SERVING);
    assert_says(now_ms, false,
                "{\"status\":\"not-ready\",\"workers\":0,\"reasons\":[\"no-worker\"]}\n");
    slot_begin(region, SLOT);
    /* A worker that starts is silent, and not stale. */
    assert_says(now_ms, false,
                "{\"status\":\"not-ready\",\"workers\":0,\"reasons\":[\"no-worker\"]}\n");
    slot_set_state(region, SLOT, WORKER_SERVING);
    slot_set_redis(region, SLOT, WORKER_REDIS_UP);
    slot_beat(region, SLOT, now_ms);
    assert_says(now_ms, false, "{\"status\":\"ready\",\"workers\":1,\"reasons\":[]}\n");
    assert_says(now_ms, true,
                "{\"status\":\"not-ready\",\"workers\":1,\"reasons\":[\"draining\"]}\n");
    slot_set_redis(region, SLOT, WORKER_REDIS_AWAY);
    assert_says(
        now_ms + READINESS_STALE_MS + 1000, false,
        "{\"status\":\"not-ready\",\"workers\":1,\"reasons\":[\"redis-away\",\"view-stale\"]}\n");
    slot_set_state(region, SLOT, WORKER_DRAINING);
    assert_says(now_ms, false,
                "{\"status\":\"not-ready\",\"workers\":0,\"reasons\":[\"draining\"]}\n");
    slot_end(region, SLOT);
    slot_end(region, CLERK);
}

static void a_server_without_a_redis_is_ready(void **state)
{
    uint64_t now_ms = clock_monotonic_ms();

    (void)state;
    slot_begin(region, SLOT);
    slot_set_state(region, SLOT, WORKER_SERVING);
    slot_beat(region, SLOT, now_ms);
    assert_says(now_ms, false, "{\"status\":\"ready\",\"workers\":1,\"reasons\":[]}\n");
    slot_end(region, SLOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_reason_has_its_name, make_region, drop_region),
        cmocka_unit_test_setup_teardown(a_server_without_a_redis_is_ready, make_region,
                                        drop_region),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
