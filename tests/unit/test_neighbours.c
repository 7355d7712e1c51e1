/* A worker that may not have rung is noticed, once. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "shm/slots.h"
#include "shm/stats.h"
#include "worker/delivery/neighbours.h"

static struct region *region;
static struct neighbours neighbours;

static int make_region(void **state)
{
    char why[256];

    (void)state;
    region = region_create(5, why, sizeof why);
    neighbours = (struct neighbours){ .restarts = 0 };
    return region ? 0 : -1;
}

static int drop_region(void **state)
{
    (void)state;
    region_close(region);
    return 0;
}

static void who_comes_has_failed_nobody(void **state)
{
    (void)state;
    assert_false(neighbours_failed(&neighbours, region));
    slot_begin(region, 3);
    assert_false(neighbours_failed(&neighbours, region));
}

static void one_that_died_is_noticed_once_though_another_took_its_slot(void **state)
{
    (void)state;
    slot_begin(region, 3);
    neighbours_failed(&neighbours, region);
    slot_end(region, 3);
    slot_begin(region, 3);
    assert_true(neighbours_failed(&neighbours, region));
    assert_false(neighbours_failed(&neighbours, region));
}

static void one_that_came_and_died_between_two_looks_is_noticed(void **state)
{
    (void)state;
    neighbours_failed(&neighbours, region);
    slot_begin(region, 3);
    slot_end(region, 3);
    slots_count_restart(region);
    assert_true(neighbours_failed(&neighbours, region));
    assert_false(neighbours_failed(&neighbours, region));
}

static void a_lost_doorbell_is_noticed_once_and_not_again_when_its_worker_ends(void **state)
{
    (void)state;
    slot_begin(region, 3);
    neighbours_failed(&neighbours, region);
    stats_add(stats_row(region, 3), STAT_doorbells_lost, 2);
    assert_true(neighbours_failed(&neighbours, region));
    assert_false(neighbours_failed(&neighbours, region));
    slot_end(region, 3);
    neighbours_failed(&neighbours, region);
    assert_false(neighbours_failed(&neighbours, region));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_comes_has_failed_nobody, make_region, drop_region),
        cmocka_unit_test_setup_teardown(one_that_died_is_noticed_once_though_another_took_its_slot,
                                        make_region, drop_region),
        cmocka_unit_test_setup_teardown(one_that_came_and_died_between_two_looks_is_noticed,
                                        make_region, drop_region),
        cmocka_unit_test_setup_teardown(
            a_lost_doorbell_is_noticed_once_and_not_again_when_its_worker_ends, make_region,
            drop_region),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
