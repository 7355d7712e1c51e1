/* Counters: what a dead worker counted stays in the total, what it measured does not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "shm/layout.h"

static void totals_survive_their_worker_and_gauges_do_not(void **state)
{
    char why[256];
    struct region *region = region_create(10, why, sizeof why);
    struct stats_row *a, *b;

    (void)state;
    assert_non_null(region);
    slot_begin(region, 0);
    slot_begin(region, 1);
    a = stats_row(region, 0);
    b = stats_row(region, 1);
    stats_add(a, STAT_messages_in, 5);
    stats_add(b, STAT_messages_in, 7);
    stats_set(a, STAT_rate_in, 3);
    stats_set(b, STAT_rate_in, 4);
    assert_int_equal(stats_get(a, STAT_messages_in), 5);
    assert_int_equal(stats_sum(region, STAT_messages_in), 12);
    assert_int_equal(stats_sum(region, STAT_rate_in), 7);
    slot_end(region, 0);
    assert_int_equal(stats_get(a, STAT_messages_in), 0);
    assert_int_equal(stats_sum(region, STAT_messages_in), 12);
    assert_int_equal(stats_sum(region, STAT_rate_in), 4);
    slot_begin(region, 0);
    stats_add(a, STAT_messages_in, 1);
    assert_int_equal(stats_sum(region, STAT_messages_in), 13);
    region_close(region);
}

static void every_counter_has_its_name(void **state)
{
    (void)state;
    for (enum stat_id stat = 0; stat < STAT_COUNT; stat++)
        assert_non_null(stats_name(stat));
    assert_string_equal(stats_name(STAT_bytes_in), "bytes_in");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_survive_their_worker_and_gauges_do_not),
        cmocka_unit_test(every_counter_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
