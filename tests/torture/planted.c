/*
 * The test of torture.c: tests in which each has a fault, and the last ones have none. torture.py
 * knows which fault has to be found in which test.
 */
#include "tests/torture/planted_parts.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

extern bool torture_planted;
bool torture_planted = true; /* torture.c reads it */

static void unchecked(void **state)
{
    (void)state;
    planted_unchecked();
}

static void used_after_free(void **state)
{
    (void)state;
    planted_used_after_free();
}

static void freed_twice(void **state)
{
    (void)state;
    planted_freed_twice();
}

static void own_assertion(void **state)
{
    (void)state;
    planted_own_assertion();
}

static void leaked_on_the_way_out(void **state)
{
    (void)state;
    planted_leaked_on_the_way_out();
}

static void tries_forever(void **state)
{
    (void)state;
    planted_tries_forever();
}

static void second_failure_unchecked(void **state)
{
    (void)state;
    planted_second_failure_unchecked();
}

static void fails_without_a_failure(void **state)
{
    (void)state;
    assert_false(planted_sound());
}

static void sound_and_passes(void **state)
{
    (void)state;
    planted_sound();
}

static void sound_and_fails(void **state)
{
    (void)state;
    assert_true(planted_sound());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unchecked),
        cmocka_unit_test(used_after_free),
        cmocka_unit_test(freed_twice),
        cmocka_unit_test(own_assertion),
        cmocka_unit_test(leaked_on_the_way_out),
        cmocka_unit_test(tries_forever),
        cmocka_unit_test(second_failure_unchecked),
        cmocka_unit_test(fails_without_a_failure),
        cmocka_unit_test(sound_and_passes),
        cmocka_unit_test(sound_and_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
