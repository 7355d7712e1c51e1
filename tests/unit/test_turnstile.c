/* The turnstile: the row of visitors, and their share of a turn. */
#include "wire_fixture.h"

#include "worker/entrance/turnstile.h"

static struct turnstile turnstile;
static struct turnstile_place places[200];
static size_t stay_count;
static struct turnstile_place *last_to_stay;

static int setup(void **state)
{
    (void)state;
    memset(places, 0, sizeof places);
    stay_count = 0;
    turnstile_init(&turnstile);
    return 0;
}

static void stays(struct turnstile_place *place)
{
    stay_count++;
    last_to_stay = place;
}

static void end_turn(size_t expected_stays)
{
    stay_count = 0;
    turnstile_settle(&turnstile, stays);
    assert_int_equal(stay_count, expected_stays);
}

static void enter(size_t count)
{
    for (size_t i = 0; i < count; i++)
        turnstile_enter(&turnstile, &places[i]);
}

static void cheap_steps_are_all_done_in_one_turn_in_the_order_of_coming(void **state)
{
    (void)state;
    enter(200);
    enter(200); /* again: nothing happens */
    assert_int_equal(turnstile.count, 200);
    for (size_t i = 0; i < 200; i++)
        assert_ptr_equal(turnstile_next(&turnstile), &places[i]);
    assert_null(turnstile_next(&turnstile));
    end_turn(0);
}

static void a_step_past_the_share_is_the_last_of_its_turn(void **state)
{
    (void)state;
    enter(3);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(turnstile_next(&turnstile), &places[i]);
        clock_ms += 1;
        assert_null(turnstile_next(&turnstile));
        end_turn(i == 0 ? 2 : 0); /* told once */
    }
}

static void enter_dear(size_t i)
{
    places[i].dear = true;
    turnstile_enter(&turnstile, &places[i]);
}

static void let_pass(size_t i)
{
    assert_ptr_equal(turnstile_next(&turnstile), &places[i]);
}

static void expect_none(void)
{
    assert_null(turnstile_next(&turnstile));
}

/* A dear step of 6 ms, alone in its turn, and its pause. */
static void learn(void)
{
    enter_dear(100);
    let_pass(100);
    clock_ms += 6;
    expect_none();
    end_turn(0);
    clock_ms += 3;
}

static void a_step_known_to_be_dear_begins_only_as_the_first_of_a_turn(void **state)
{
    (void)state;
    learn();
    enter(1);
    let_pass(0);
    enter_dear(1); /* the hello that this step has read is whole */
    enter_dear(2);
    expect_none();
    end_turn(2);
    let_pass(1);
    clock_ms += 6;
    expect_none();
    end_turn(0);
}

static void between_dear_steps_the_others_go_on(void **state)
{
    (void)state;
    learn();
    enter(2);
    enter_dear(2);
    enter_dear(3);
    let_pass(2);
    clock_ms += 6;
    expect_none();
    end_turn(3);
    let_pass(0); /* the pause */
    let_pass(1);
    expect_none();
    end_turn(0);
    clock_ms += 1;
    expect_none();
    end_turn(0);
    clock_ms += 1;
    let_pass(3);
    turnstile_leave(&turnstile, &places[3]);
    assert_int_equal(turnstile.count, 0);
}

static void the_next_step_of_a_visitor_comes_behind_everybody_elses(void **state)
{
    (void)state;
    enter(2);
    assert_ptr_equal(turnstile_next(&turnstile), &places[0]);
    clock_ms += 1;
    turnstile_enter(&turnstile, &places[0]); /* its hello was whole */
    turnstile_enter(&turnstile, &places[2]); /* a newcomer */
    end_turn(3);
    assert_ptr_equal(turnstile_next(&turnstile), &places[1]);
    assert_ptr_equal(turnstile_next(&turnstile), &places[0]);
    assert_ptr_equal(turnstile_next(&turnstile), &places[2]);
}

static void only_newcomers_are_told_that_they_stay(void **state)
{
    (void)state;
    enter(3);
    assert_ptr_equal(turnstile_next(&turnstile), &places[0]);
    clock_ms += 1;
    end_turn(2);
    turnstile_enter(&turnstile, &places[7]);
    assert_ptr_equal(turnstile_next(&turnstile), &places[1]);
    clock_ms += 1;
    end_turn(1);
    assert_ptr_equal(last_to_stay, &places[7]);
}

static void who_leaves_is_not_called(void **state)
{
    (void)state;
    enter(3);
    turnstile_leave(&turnstile, &places[0]);
    turnstile_leave(&turnstile, &places[1]);
    turnstile_leave(&turnstile, &places[1]);
    assert_int_equal(turnstile.count, 1);
    assert_ptr_equal(turnstile_next(&turnstile), &places[2]);
    assert_null(turnstile_next(&turnstile));
}

static void accepting_counts_and_leaves_the_visitors_inside_a_step(void **state)
{
    (void)state;
    enter(2);
    assert_true(turnstile_admits(&turnstile));
    turnstile_spend(&turnstile, 1000000);
    assert_false(turnstile_admits(&turnstile));
    assert_ptr_equal(turnstile_next(&turnstile), &places[0]);
    assert_null(turnstile_next(&turnstile));
    end_turn(1);
    assert_true(turnstile_admits(&turnstile));
}

static void a_long_row_keeps_the_door_shut_until_it_is_shorter(void **state)
{
    (void)state;
    enter(200);
    assert_false(turnstile_admits(&turnstile));
    for (size_t i = 0; i < 150; i++)
        assert_non_null(turnstile_next(&turnstile));
    assert_true(turnstile_admits(&turnstile));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(cheap_steps_are_all_done_in_one_turn_in_the_order_of_coming, setup),
        cmocka_unit_test_setup(a_step_past_the_share_is_the_last_of_its_turn, setup),
        cmocka_unit_test_setup(a_step_known_to_be_dear_begins_only_as_the_first_of_a_turn, setup),
        cmocka_unit_test_setup(between_dear_steps_the_others_go_on, setup),
        cmocka_unit_test_setup(the_next_step_of_a_visitor_comes_behind_everybody_elses, setup),
        cmocka_unit_test_setup(only_newcomers_are_told_that_they_stay, setup),
        cmocka_unit_test_setup(who_leaves_is_not_called, setup),
        cmocka_unit_test_setup(accepting_counts_and_leaves_the_visitors_inside_a_step, setup),
        cmocka_unit_test_setup(a_long_row_keeps_the_door_shut_until_it_is_shorter, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
