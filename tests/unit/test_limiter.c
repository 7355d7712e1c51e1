#include "worker/wire/limiter.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static void a_burst_passes_then_the_rate_holds(void **state)
{
    struct limiter limiter;
    unsigned passed = 0;

    (void)state;
    limiter_init(&limiter, 200, 5000);
    for (int i = 0; i < 200; i++)
        assert_int_equal(limiter_take(&limiter, 100, 200, 5000), 0);
    assert_int_equal(limiter_take(&limiter, 100, 200, 5000), 10); /* one comes each 10 ms */
    for (uint64_t now = 5000; now < 15000; now++)
        passed += limiter_take(&limiter, 100, 200, now) == 0;
    assert_in_range(passed, 998, 1001);
}

/* Who waits as long as it was told is let through. */
static void retry_after_is_true(void **state)
{
    static const uint32_t rates[] = { 1, 3, 7, 100, 999, 1000, 1001, 100000 };

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct limiter limiter;
        uint64_t now = 1;
        limiter_init(&limiter, 1, now);
        assert_int_equal(limiter_take(&limiter, rates[i], 1, now), 0);
        now += limiter_take(&limiter, rates[i], 1, now);
        assert_int_equal(limiter_take(&limiter, rates[i], 1, now), 0);
    }
}

static void a_long_pause_fills_it_to_the_burst_and_no_further(void **state)
{
    struct limiter limiter;
    unsigned passed = 0;

    (void)state;
    limiter_init(&limiter, 1000000, 0);
    limiter.left_k = 0;
    for (int i = 0; i < 300; i++)
        passed += limiter_take(&limiter, 1000000, 200, 1ull << 50) == 0;
    assert_int_equal(passed, 200);
}

static void zero_is_no_limit(void **state)
{
    struct limiter limiter;

    (void)state;
    limiter_init(&limiter, 1, 0);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(limiter_take(&limiter, 0, 1, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_passes_then_the_rate_holds),
        cmocka_unit_test(retry_after_is_true),
        cmocka_unit_test(a_long_pause_fills_it_to_the_burst_and_no_further),
        cmocka_unit_test(zero_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
