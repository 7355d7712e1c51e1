/* Histograms: each time falls into its bucket, and sums never go back when workers die. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "shm/histograms.h"
#include "shm/layout.h"

#include <string.h>

static struct region *new_region(void)
{
    char why[256];
    struct region *region = region_create(10, why, sizeof why);

    assert_non_null(region);
    return region;
}

static uint64_t count_of(const struct histogram_view *view)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += view->buckets[i];
    return count;
}

static void bounds_are_powers_of_two_in_seconds(void **state)
{
    (void)state;
    assert_true(histogram_bound_s(0) == 1.0 / 16384);
    assert_true(histogram_bound_s(14) == 1.0);
    assert_true(histogram_bound_s(HISTOGRAM_BOUNDS - 1) == 16.0);
}

/* The bounds below 2^-9 s are no whole number of nanoseconds. */
static void a_time_at_its_bound_is_in_and_the_next_nanosecond_is_out(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket(0), 0);
    assert_int_equal(histogram_bucket(1), 0);
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        uint64_t bound_ns = (UINT64_C(1000000000) << i) >> 14;
        assert_int_equal(histogram_bucket(bound_ns), i);
        assert_int_equal(histogram_bucket(bound_ns + 1), i + 1);
    }
    assert_int_equal(histogram_bucket(UINT64_C(1) << 40), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket((UINT64_C(1) << 40) + 1), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void sums_survive_their_worker(void **state)
{
    struct region *region = new_region();
    struct histogram_view view;

    (void)state;
    slot_begin(region, 0);
    slot_begin(region, 1);
    histogram_add(stats_row(region, 0), HISTOGRAM_ACCEPT, 1000);
    histogram_add(stats_row(region, 0), HISTOGRAM_ACCEPT, 2000000000);
    histogram_add(stats_row(region, 1), HISTOGRAM_ACCEPT, 1000);
    histogram_add(stats_row(region, 1), HISTOGRAM_DELIVERY, 5);
    for (int death = 0; death < 3; death++) {
        histogram_sum(region, HISTOGRAM_ACCEPT, &view);
        assert_int_equal(count_of(&view), 3);
        assert_int_equal(view.buckets[0], 2);
        assert_int_equal(view.buckets[15], 1);
        assert_int_equal(view.sum_ns, 2000002000);
        slot_end(region, 0);
        slot_begin(region, 0);
        histogram_of_worker(region, 0, HISTOGRAM_ACCEPT, &view);
        assert_int_equal(count_of(&view), 0);
    }
    slot_end(region, 1);
    histogram_add(stats_row(region, 0), HISTOGRAM_ACCEPT, 0);
    histogram_sum(region, HISTOGRAM_ACCEPT, &view);
    assert_int_equal(count_of(&view), 4);
    histogram_sum(region, HISTOGRAM_DELIVERY, &view);
    assert_int_equal(count_of(&view), 1);
    region_close(region);
}

/* Between the death and its purge the dead worker's row still counts. */
static void a_reader_sees_no_sum_go_back_while_workers_come_and_go(void **state)
{
    enum { LIVES = 300, TIMES = 20 };
    struct region *region = new_region();
    struct histogram_view view;
    uint64_t last = 0;

    (void)state;
    for (int life = 0; life < LIVES; life++) {
        slot_begin(region, 0);
        for (int i = 0; i < TIMES; i++) {
            histogram_add(stats_row(region, 0), HISTOGRAM_LOOP_LAG, (uint64_t)1 << i);
            histogram_sum(region, HISTOGRAM_LOOP_LAG, &view);
            assert_int_equal(count_of(&view), ++last);
        }
        slot_end(region, 0);
        histogram_sum(region, HISTOGRAM_LOOP_LAG, &view);
        assert_int_equal(count_of(&view), last);
    }
    region_close(region);
}

static void the_master_mends_what_a_worker_scribbles_over_the_retired_ones(void **state)
{
    struct region *region = new_region();
    struct histogram_view view;

    (void)state;
    slot_begin(region, 0);
    histogram_add(stats_row(region, 0), HISTOGRAM_ACCEPT, 7);
    slot_end(region, 0);
    memset(region_histograms(region), 0xff, sizeof(struct master_histograms));
    assert_true(region_take_mended(region) > 0);
    histogram_sum(region, HISTOGRAM_ACCEPT, &view);
    assert_int_equal(count_of(&view), 1);
    assert_int_equal(view.sum_ns, 7);
    region_close(region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_powers_of_two_in_seconds),
        cmocka_unit_test(a_time_at_its_bound_is_in_and_the_next_nanosecond_is_out),
        cmocka_unit_test(sums_survive_their_worker),
        cmocka_unit_test(a_reader_sees_no_sum_go_back_while_workers_come_and_go),
        cmocka_unit_test(the_master_mends_what_a_worker_scribbles_over_the_retired_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
