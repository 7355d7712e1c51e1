#include "worker/io/wheel.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static struct wheel wheel;
static struct wheel_node nodes[100];
static unsigned fired[100], fired_count;
static uint64_t fired_at[100];

static void on_due(struct wheel_node *node, uint64_t now_ms)
{
    size_t i = (size_t)(node - nodes);

    fired[i]++;
    fired_count++;
    fired_at[i] = now_ms;
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        nodes[i] = (struct wheel_node){ 0 };
        fired[i] = 0;
        fired_at[i] = 0;
    }
    fired_count = 0;
    wheel_init(&wheel, 1000, on_due);
    return 0;
}

static void run(uint64_t from_ms, uint64_t to_ms)
{
    for (uint64_t now = from_ms; now <= to_ms; now += 50)
        wheel_run(&wheel, now);
}

/* Each at its own time: not early, and at most a tick and a step late; also past one revolution. */
static void a_deadline_is_met_and_never_early(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++)
        wheel_set(&wheel, &nodes[i], 1000 + i * i * 37);
    run(1000, 1000 + 100 * 100 * 37 + 1000);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(fired[i], 1);
        assert_true(fired_at[i] >= 1000 + i * i * 37);
        assert_true(fired_at[i] <= 1000 + i * i * 37 + 2 * WHEEL_TICK_MS + 50);
    }
}

static void a_cancelled_node_never_fires(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10; i++)
        wheel_set(&wheel, &nodes[i], 2000);
    wheel_cancel(&nodes[0]);
    wheel_cancel(&nodes[5]);
    wheel_cancel(&nodes[5]);
    wheel_cancel(&nodes[9]);
    run(1000, 4000);
    assert_int_equal(fired_count, 7);
    assert_int_equal(fired[0] + fired[5] + fired[9], 0);
}

static void a_moved_node_fires_once_at_its_new_time(void **state)
{
    (void)state;
    wheel_set(&wheel, &nodes[0], 2000);
    wheel_set(&wheel, &nodes[0], 5000);
    run(1000, 4900);
    assert_int_equal(fired[0], 0);
    run(4950, 6000);
    assert_int_equal(fired[0], 1);
}

/* A deadline in the past comes with the next tick. */
static void the_past_is_due_at_once(void **state)
{
    (void)state;
    wheel_set(&wheel, &nodes[0], 1);
    run(1000, 1000 + 2 * WHEEL_TICK_MS);
    assert_int_equal(fired[0], 1);
}

static void set_again(struct wheel_node *node, uint64_t now_ms)
{
    on_due(node, now_ms);
    wheel_cancel(&nodes[1]);
    wheel_set(&wheel, node,
              now_ms); /* due at once: must wait for the next tick, not loop for ever */
}

static void a_callback_may_set_itself_and_cancel_others(void **state)
{
    (void)state;
    wheel.due = set_again;
    wheel_set(&wheel, &nodes[0], 1100);
    wheel_set(&wheel, &nodes[1], 1100);
    run(1000, 3000);
    assert_true(fired[0] >= 4 && fired[0] <= 9);
    assert_true(fired[1] <= 1);
}

/* SIGSTOP for an hour: everything is looked at once, nothing is lost. */
static void a_long_stop_loses_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++)
        wheel_set(&wheel, &nodes[i], 1000 + i * 1000);
    wheel_run(&wheel, 1000 + 3600 * 1000);
    assert_int_equal(fired_count, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_deadline_is_met_and_never_early, setup),
        cmocka_unit_test_setup(a_cancelled_node_never_fires, setup),
        cmocka_unit_test_setup(a_moved_node_fires_once_at_its_new_time, setup),
        cmocka_unit_test_setup(the_past_is_due_at_once, setup),
        cmocka_unit_test_setup(a_callback_may_set_itself_and_cancel_others, setup),
        cmocka_unit_test_setup(a_long_stop_loses_nothing, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
