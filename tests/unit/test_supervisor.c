#include "master/supervisor.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void a_death_is_answered_by_how_long_the_life_was(void **state)
{
    static const struct {
        struct exit_report report;
        struct exit_decision expected;
    } table[] = {
        /* asked to leave: never */
        { { true, false, 0, 0 }, { false, 0, 0 } },
        { { true, false, 100000, 400 }, { false, 0, 400 } },
        { { true, true, 10, 0 }, { false, 0, 0 } },
        /* a long life: at once, and forgiven */
        { { false, false, 30000, 0 }, { true, 0, 0 } },
        { { false, false, 30000, 6400 }, { true, 0, 0 } },
        /* a middling life: at once, not forgiven */
        { { false, false, 5000, 6400 }, { true, 0, 6400 } },
        { { false, false, 29999, 100 }, { true, 0, 100 } },
        /* a short one: ever later */
        { { false, false, 4999, 0 }, { true, 100, 100 } },
        { { false, false, 0, 100 }, { true, 200, 200 } },
        { { false, false, 0, 25600 }, { true, 30000, 30000 } },
        { { false, false, 0, 30000 }, { true, 30000, 30000 } },
        /* it said that it cannot start: not at once, however long it took to find out */
        { { false, true, 0, 0 }, { true, 1000, 1000 } },
        { { false, true, 0, 1000 }, { true, 2000, 2000 } },
        { { false, true, 60000, 4000 }, { true, 1000, 1000 } },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct exit_decision got = supervisor_decide(&table[i].report);
        assert_int_equal(got.restart, table[i].expected.restart);
        assert_int_equal(got.delay_ms, table[i].expected.delay_ms);
        assert_int_equal(got.backoff_ms, table[i].expected.backoff_ms);
    }
}

static void a_crash_loop_settles_at_one_start_each_thirty_seconds(void **state)
{
    struct exit_report report = { .life_ms = 10 };
    unsigned deaths = 0;
    uint64_t now = 0;

    (void)state;
    while (now < 600000) {
        struct exit_decision decision = supervisor_decide(&report);
        assert_true(decision.restart);
        report.backoff_ms = decision.backoff_ms;
        now += report.life_ms + decision.delay_ms;
        deaths++;
    }
    assert_in_range(deaths, 20, 30);
}

/* One letter a seat: e(mpty) w(aiting) s(tarting) S(erving) l(eaving, serving) d(raining). */
static struct seat_view seat_of(char letter)
{
    switch (letter) {
    case 'w':
        return (struct seat_view){ SEAT_WAITING, false };
    case 's':
        return (struct seat_view){ SEAT_STARTING, false };
    case 'S':
        return (struct seat_view){ SEAT_SERVING, false };
    case 'l':
        return (struct seat_view){ SEAT_SERVING, true };
    case 'd':
        return (struct seat_view){ SEAT_DRAINING, false };
    default:
        return (struct seat_view){ SEAT_EMPTY, false };
    }
}

static void seats_are_opened_from_below_and_left_from_above(void **state)
{
    static const struct {
        const char *seats;
        uint32_t wanted;
        const char *actions; /* . keep, + open, - leave */
    } table
        [] = {
            { "eeee", 2, "++.." }, { "SSee", 2, "...." }, { "SSee", 4, "..++" },
            { "SSSS", 2, "..--" }, { "SSdd", 2, "...." }, { "SdSS", 2, "...-" },
            { "SdSe", 3, "...+" }, { "wsSe", 3, "...." }, { "wsSS", 1, ".---" },
            { "wsSS", 0, "----" }, { "SSSS", 9, "...." }, /* no seat left: nothing to be done */
            { "llss", 2, "...." },                        /* a swap under way */
            { "llss", 1, "...-" }, { "llwe", 2, "...+" }, { "dddd", 2, "...." },
        };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct seat_view seats[4];
        enum seat_action actions[4];
        for (size_t k = 0; k < 4; k++)
            seats[k] = seat_of(table[i].seats[k]);
        supervisor_balance(seats, 4, table[i].wanted, actions);
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(".+-"[actions[k]], table[i].actions[k]);
    }
}

static void the_old_worker_stays_until_its_replacement_serves(void **state)
{
    static const struct {
        enum seat_state replacement;
        uint64_t waited_ms;
        bool may_leave;
    } table[] = {
        { SEAT_STARTING, 0, false },    { SEAT_STARTING, 9999, false },
        { SEAT_STARTING, 10000, true }, { SEAT_SERVING, 0, true },
        { SEAT_WAITING, 0, false },     { SEAT_WAITING, 60000, false }, /* it keeps dying */
        { SEAT_DRAINING, 0, true },     { SEAT_EMPTY, 0, true },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++)
        assert_int_equal(supervisor_may_leave(table[i].replacement, table[i].waited_ms),
                         table[i].may_leave);
}

static void a_silent_worker_is_aborted_and_then_killed(void **state)
{
    static const struct {
        struct pulse pulse; /* now, beat, since, aborted, limit */
        enum watchdog_action expected;
    } table[] = {
        { { 20000, 19000, 1000, 0, 10000 }, WATCHDOG_FINE },
        { { 20000, 10000, 1000, 0, 10000 }, WATCHDOG_FINE },
        { { 20001, 10000, 1000, 0, 10000 }, WATCHDOG_ABORT },
        { { 20001, 0, 1000, 0, 10000 }, WATCHDOG_ABORT },     /* never said anything */
        { { 20001, 0, 15000, 0, 10000 }, WATCHDOG_FINE },     /* has only just started */
        { { 20001, 10000, 20000, 0, 10000 }, WATCHDOG_FINE }, /* the master slept as well */
        { { 20000, 20005, 1000, 0, 10000 }, WATCHDOG_FINE },  /* beat while we looked */
        { { 90000, 0, 0, 0, 0 }, WATCHDOG_FINE },             /* off */
        { { 21999, 0, 0, 20000, 10000 }, WATCHDOG_FINE },
        { { 22000, 0, 0, 20000, 10000 }, WATCHDOG_KILL },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++)
        assert_int_equal(supervisor_watch(&table[i].pulse), table[i].expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_death_is_answered_by_how_long_the_life_was),
        cmocka_unit_test(a_crash_loop_settles_at_one_start_each_thirty_seconds),
        cmocka_unit_test(seats_are_opened_from_below_and_left_from_above),
        cmocka_unit_test(the_old_worker_stays_until_its_replacement_serves),
        cmocka_unit_test(a_silent_worker_is_aborted_and_then_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
