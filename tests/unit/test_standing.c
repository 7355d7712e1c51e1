/* Where a reader stands in a log: its own word before the cursor, and no gap in silence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/standing.h"

static const struct mailbox_opened mailbox = { .ok = true,
                                               .known_device = true,
                                               .cursor = { 20, 0 },
                                               .cursor_epoch_ok = true,
                                               .last = { 30, 0 },
                                               .lost = { 10, 0 } };

static struct standing_since since_at(uint64_t ms, const char *epoch)
{
    struct standing_since since = { .given = true, .seq = { ms, 0 } };

    standing_since_epoch(&since, slice_of(epoch));
    return since;
}

static void expect(struct standing standing, uint64_t cursor_ms, bool recovered)
{
    assert_int_equal(standing.cursor.ms, cursor_ms);
    assert_int_equal(standing.recovered, recovered);
    assert_int_equal(standing.last.ms, 30);
    assert_string_equal(standing.epoch, "now");
}

static void a_device_goes_on_behind_its_cursor(void **state)
{
    struct standing_since none = { 0 };

    (void)state;
    expect(standing_judge("now", &none, &mailbox), 20, true);
}

static void the_clients_own_position_counts_before_the_cursor(void **state)
{
    struct standing_since older = since_at(15, NULL), newer = since_at(25, "now");

    (void)state;
    expect(standing_judge("now", &older, &mailbox), 15, true);
    expect(standing_judge("now", &newer, &mailbox), 25, true);
}

static void a_position_before_what_retention_removed_is_a_gap(void **state)
{
    struct standing_since gap = since_at(9, NULL), edge = since_at(10, NULL);

    (void)state;
    expect(standing_judge("now", &gap, &mailbox), 9, false);
    expect(standing_judge("now", &edge, &mailbox), 10, true);
}

static void a_gap_that_welcome_tells_is_not_read_again(void **state)
{
    struct standing_since gap = since_at(9, NULL), old = since_at(15, "then"),
                          kept = since_at(15, NULL);
    struct mailbox_opened damaged = mailbox;

    (void)state;
    assert_int_equal(standing_judge("now", &gap, &mailbox).begin.ms, 10);
    assert_int_equal(standing_judge("now", &old, &mailbox).begin.ms, 10);
    assert_int_equal(standing_judge("now", &kept, &mailbox).begin.ms, 15);
    damaged.lost =
        (struct seq){ 31, 0 }; /* newer than the newest: would lead past all that is kept */
    assert_int_equal(standing_judge("now", &gap, &damaged).begin.ms, 9);
}

static void a_position_of_other_data_begins_at_the_oldest(void **state)
{
    struct standing_since old = since_at(25, "then"), future = since_at(31, NULL), none = { 0 };
    struct mailbox_opened stale = mailbox;

    (void)state;
    stale.cursor_epoch_ok = false;
    expect(standing_judge("now", &old, &mailbox), 0, false);
    expect(standing_judge("now", &future, &mailbox), 0, false);
    expect(standing_judge("now", &none, &stale), 0, false);
}

static void a_new_device_misses_nothing(void **state)
{
    struct standing_since none = { 0 };
    struct mailbox_opened first = mailbox;

    (void)state;
    first.known_device = first.cursor_epoch_ok = false;
    first.cursor = first.lost;
    expect(standing_judge("now", &none, &first), 10, true);
}

static void an_epoch_too_long_to_be_ours_matches_none(void **state)
{
    struct standing_since since = since_at(25, "0123456789012345678901234567890123456789");

    (void)state;
    expect(standing_judge("now", &since, &mailbox), 0, false);
}

static void now_begins_behind_the_newest_and_misses_nothing(void **state)
{
    struct standing_since since;
    struct mailbox_opened stale = mailbox;

    (void)state;
    stale.cursor_epoch_ok = false;
    stale.lost = (struct seq){ 30, 0 };
    assert_true(standing_since_read(&since, SLICE("now")));
    expect(standing_judge("now", &since, &mailbox), 30, true);
    standing_since_epoch(&since, SLICE("then"));
    expect(standing_judge("now", &since, &stale), 30, true);
}

static void a_position_is_a_seq_or_now_or_absent(void **state)
{
    static const char *const bad[] = { "", "-", "1-", "-1", "1-1-1", "Now", "now ", "1.5" };
    struct standing_since since;

    (void)state;
    assert_true(standing_since_read(&since, (struct slice){ 0 }) && !since.given);
    assert_true(standing_since_read(&since, SLICE("7")) && since.given && !since.now);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(standing_since_read(&since, slice_of(bad[i])) || since.given);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_goes_on_behind_its_cursor),
        cmocka_unit_test(the_clients_own_position_counts_before_the_cursor),
        cmocka_unit_test(a_position_before_what_retention_removed_is_a_gap),
        cmocka_unit_test(a_gap_that_welcome_tells_is_not_read_again),
        cmocka_unit_test(a_position_of_other_data_begins_at_the_oldest),
        cmocka_unit_test(a_new_device_misses_nothing),
        cmocka_unit_test(now_begins_behind_the_newest_and_misses_nothing),
        cmocka_unit_test(a_position_is_a_seq_or_now_or_absent),
        cmocka_unit_test(an_epoch_too_long_to_be_ours_matches_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
