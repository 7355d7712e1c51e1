/* What an address may do on a worker lives on when its sessions end, and no longer than needed. */
#include "office_fixture.h"

#include "worker/session/allowance.h"

static struct address_key key_of(unsigned number)
{
    char address[16];

    return sessions_key(office.region, slice_make(address, (size_t)snprintf(address, sizeof address,
                                                                            "a%u", number)));
}

static int setup(void **state)
{
    office_setup(state);
    office.config->limits.messages_per_s = 10;
    office.config->limits.burst = 20;
    office.config->limits.acks_per_s = 5;
    office.config->limits.acks_burst = 10;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_close();
    return 0;
}

static unsigned drain(struct allowance *allowance)
{
    unsigned taken = 0;

    assert_non_null(allowance);
    while (allowance_take_message(&office, allowance) == 0)
        taken++;
    return taken;
}

static void a_bucket_outlives_its_holders_until_it_is_full(void **state)
{
    struct allowance *allowance = allowance_hold(&office, key_of(1), false);

    (void)state;
    assert_int_equal(drain(allowance), 20);
    allowance_release(&office, allowance);
    pass_ms(1000);
    allowances_tick(&office);
    allowance = allowance_hold(&office, key_of(1), false);
    assert_int_equal(drain(allowance), 10);
    allowance_release(&office, allowance);
    pass_ms(2000);
    allowances_tick(&office);
    allowance = allowance_hold(&office, key_of(1), false);
    assert_int_equal(drain(allowance), 20);
    allowance_release(&office, allowance);
}

static void two_holders_share_one_bucket_and_addresses_do_not(void **state)
{
    struct allowance *first = allowance_hold(&office, key_of(1), false);
    struct allowance *second = allowance_hold(&office, key_of(1), false);
    struct allowance *other = allowance_hold(&office, key_of(2), false);

    (void)state;
    assert_ptr_equal(first, second);
    assert_int_equal(drain(first), 20);
    assert_int_equal(drain(other), 20);
    allowance_release(&office, first);
    assert_int_equal(drain(second), 0);
    allowance_release(&office, second);
    allowance_release(&office, other);
}

static void acknowledgements_have_a_bucket_of_their_own(void **state)
{
    struct allowance *allowance = allowance_hold(&office, key_of(1), false);

    (void)state;
    assert_non_null(allowance);
    for (int i = 0; i < 10; i++)
        assert_int_equal(allowance_take_ack(&office, allowance), 0);
    assert_int_equal(allowance_take_ack(&office, allowance), 200);
    assert_int_equal(drain(allowance), 20);
    allowance_release(&office, allowance);
}

/* Whoever may speak for many addresses cannot make the worker remember more than so many. */
static void not_more_than_so_many_are_kept_without_a_holder(void **state)
{
    struct allowance *allowance;

    (void)state;
    for (unsigned i = 0; i < ALLOWANCES_IDLE_MAX + 100; i++) {
        allowance = allowance_hold(&office, key_of(i), false);
        assert_non_null(allowance);
        assert_int_equal(drain(allowance), 20);
        allowance_release(&office, allowance);
    }
    allowance = allowance_hold(&office, key_of(99), false); /* dropped as the oldest */
    assert_int_equal(drain(allowance), 20);
    allowance_release(&office, allowance);
    allowance = allowance_hold(&office, key_of(ALLOWANCES_IDLE_MAX + 99), false);
    assert_int_equal(drain(allowance), 0);
    allowance_release(&office, allowance);
}

static void replacements_have_a_floor_for_the_device_and_for_the_address(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICE_REPLACEMENTS_AT_ONCE; i++) {
        assert_int_equal(allowance_replacement_wait(&office, SLICE("alice"), SLICE("TAB")), 0);
        allowance_note_device_replaced(&office, SLICE("alice"), SLICE("TAB"));
    }
    assert_int_equal(allowance_replacement_wait(&office, SLICE("alice"), SLICE("TAB")), 1000);
    assert_int_equal(allowance_replacement_wait(&office, SLICE("alice"), SLICE("APP")), 0);
    assert_int_equal(allowance_replacement_wait(&office, SLICE("alice"), SLICE("")), 0);
    assert_int_equal(allowance_replacement_wait(&office, SLICE("bob"), SLICE("TAB")), 0);
    pass_ms(1000);
    assert_int_equal(allowance_replacement_wait(&office, SLICE("alice"), SLICE("TAB")), 0);
    for (int i = 0; i < ADDRESS_REPLACEMENTS_AT_ONCE; i++)
        allowance_note_replaced(&office, SLICE("alice"));
    assert_int_equal(allowance_replacement_wait(&office, SLICE("alice"), SLICE("APP")), 1000);
    office.config->sessions.replacements_per_s = 0;
    assert_int_equal(allowance_replacement_wait(&office, SLICE("alice"), SLICE("APP")), 0);
}

/* A program more brings its rate, and no bucket: who reconnects gains nothing. */
static void the_programs_of_a_service_share_a_bucket_that_grows_with_each(void **state)
{
    struct allowance *programs[4];

    (void)state;
    programs[0] = allowance_hold(&office, key_of(1), true);
    assert_int_equal(drain(programs[0]), 20);
    pass_ms(1000);
    for (unsigned i = 1; i < 4; i++)
        programs[i] = allowance_hold(&office, key_of(1), true);
    assert_ptr_equal(programs[0], programs[3]);
    assert_int_equal(drain(programs[1]), 10); /* the second before was one program's */
    pass_ms(1000);
    assert_int_equal(drain(programs[2]), 40);
    pass_ms(5000);
    assert_int_equal(drain(programs[3]), 80);
    for (unsigned i = 0; i < 100; i++) {
        allowance_release(&office, programs[3]);
        assert_int_equal(drain(programs[0]), 0);
        programs[3] = allowance_hold(&office, key_of(1), true);
        assert_int_equal(drain(programs[0]), 0);
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(allowance_take_ack(&office, programs[0]), 0);
    pass_ms(500);
    for (unsigned i = 1; i < 4; i++)
        allowance_release(&office, programs[i]);
    assert_int_equal(drain(programs[0]), 20); /* what one may have of the half second of four */
    pass_ms(1000);
    assert_int_equal(drain(programs[0]), 10);
    allowance_release(&office, programs[0]);
    pass_ms(2000);
    allowances_tick(&office);
    programs[0] = allowance_hold(&office, key_of(1), true);
    assert_int_equal(drain(programs[0]), 20);
    allowance_release(&office, programs[0]);
}

static void the_bucket_of_a_large_service_does_not_run_over(void **state)
{
    struct allowance *allowance = NULL;

    (void)state;
    office.config->limits.messages_per_s = 1000000;
    office.config->limits.burst = 1000000;
    for (unsigned i = 0; i < 100; i++) {
        allowance = allowance_hold(&office, key_of(1), true);
        assert_non_null(allowance);
    }
    pass_ms(100000);
    assert_int_equal(drain(allowance), LIMITER_BURST_MAX);
    for (unsigned i = 0; i < 100; i++)
        allowance_release(&office, allowance);
}

static void text_that_was_inflated_makes_the_address_wait(void **state)
{
    struct allowance *allowance = allowance_hold(&office, key_of(1), false);
    struct allowance *other = allowance_hold(&office, key_of(2), false);

    (void)state;
    assert_true(allowance && other);
    office.config->limits.inflated_bytes_per_s = 1000;
    allowance_note_inflated(&office, allowance, 1000); /* a second's worth is free */
    assert_int_equal(allowance_inflation_wait(&office, allowance), 0);
    allowance_note_inflated(&office, allowance, 5000);
    assert_int_equal(allowance_inflation_wait(&office, allowance), 5000);
    assert_int_equal(allowance_inflation_wait(&office, other), 0);
    /* A new session goes on with what the last one owed. */
    allowance_release(&office, allowance);
    pass_ms(2000);
    allowances_tick(&office);
    allowance = allowance_hold(&office, key_of(1), false);
    assert_non_null(allowance);
    assert_int_equal(allowance_inflation_wait(&office, allowance), 3000);
    pass_ms(3000);
    assert_int_equal(allowance_inflation_wait(&office, allowance), 0);
    allowance_release(&office, allowance);
    allowance_release(&office, other);
}

static void the_programs_of_a_service_may_inflate_as_much_each(void **state)
{
    struct allowance *allowance = allowance_hold(&office, key_of(1), true);

    (void)state;
    assert_non_null(allowance);
    assert_ptr_equal(allowance_hold(&office, key_of(1), true), allowance);
    office.config->limits.inflated_bytes_per_s = 1000;
    allowance_note_inflated(&office, allowance, 6000);
    assert_int_equal(allowance_inflation_wait(&office, allowance), 2000);
    office.config->limits.inflated_bytes_per_s = 0; /* no limit */
    assert_int_equal(allowance_inflation_wait(&office, allowance), 0);
    allowance_release(&office, allowance);
    allowance_release(&office, allowance);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_bucket_outlives_its_holders_until_it_is_full),
        T(two_holders_share_one_bucket_and_addresses_do_not),
        T(the_programs_of_a_service_share_a_bucket_that_grows_with_each),
        T(the_bucket_of_a_large_service_does_not_run_over),
        T(acknowledgements_have_a_bucket_of_their_own),
        T(not_more_than_so_many_are_kept_without_a_holder),
        T(text_that_was_inflated_makes_the_address_wait),
        T(the_programs_of_a_service_may_inflate_as_much_each),
        T(replacements_have_a_floor_for_the_device_and_for_the_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
