#include "worker/mailbox/feed.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

static struct seq at(uint64_t ms)
{
    return (struct seq){ ms, 0 };
}

static const struct seq none = { 0, 0 };

static void assert_seq(struct seq got, struct seq wanted)
{
    assert_int_equal(got.ms, wanted.ms);
    assert_int_equal(got.n, wanted.n);
}

/* ---- acknowledgements ---- */

static void an_ack_covers_everything_up_to_it(void **state)
{
    struct feed_acks acks = { 0 };
    struct seq cursor;

    (void)state;
    for (uint64_t i = 1; i <= 1000; i++)
        feed_acks_sent(&acks, at(i), i);
    assert_int_equal(acks.count, 1); /* in order: one run, however many */
    assert_true(feed_acks_take(&acks, at(400), none, &cursor));
    assert_seq(cursor, at(400));
    assert_true(feed_acks_take(&acks, at(1000), none, &cursor));
    assert_seq(cursor, at(1000));
    assert_null(acks.runs); /* nothing is kept when nothing is unacknowledged */
}

static void nothing_that_was_not_sent_is_covered(void **state)
{
    struct feed_acks acks = { 0 };
    struct seq cursor;

    (void)state;
    assert_false(feed_acks_take(&acks, at(5), none, &cursor));
    feed_acks_sent(&acks, at(10), 1);
    feed_acks_sent(&acks, at(20), 3);
    assert_false(feed_acks_take(&acks, at(9), none, &cursor));
    assert_false(feed_acks_take(&acks, at(21), none, &cursor));
    assert_true(feed_acks_take(&acks, at(20), at(15), &cursor)); /* 15 waits still: a lower level */
    assert_true(seq_compare(cursor, at(15)) < 0);
    feed_acks_fini(&acks);
}

static void the_run_of_what_was_sent_is_found(void **state)
{
    struct feed_acks acks = { 0 };
    struct seq cursor;

    (void)state;
    assert_int_equal(feed_acks_find(&acks, at(1)), acks.count);
    for (uint64_t i = 1; i <= 5; i++)
        feed_acks_sent(&acks, at(i * 10), i);
    for (uint64_t i = 7; i <= 9; i++) /* the sixth was not for this session */
        feed_acks_sent(&acks, at(i * 10), i);
    assert_int_equal(feed_acks_find(&acks, at(10)), 0);
    assert_int_equal(feed_acks_find(&acks, at(60)), acks.count);
    assert_int_equal(feed_acks_find(&acks, at(80)), 1);
    assert_true(feed_acks_take(&acks, at(20), none, &cursor));
    assert_int_equal(feed_acks_find(&acks, at(20)), acks.count);
    assert_int_equal(feed_acks_find(&acks, at(30)), 0);
    feed_acks_fini(&acks);
}

/* 9 overtook 1 to 5. Acknowledging it does not acknowledge those; acknowledging 5 acknowledges all.
 */
static void one_that_overtook_covers_only_itself(void **state)
{
    struct feed_acks acks = { 0 };
    struct seq cursor;

    (void)state;
    feed_acks_sent(&acks, at(9), 9);
    assert_true(feed_acks_take(&acks, at(9), at(1), &cursor));
    assert_true(seq_compare(cursor, at(1)) < 0);
    for (uint64_t i = 1; i <= 8; i++)
        feed_acks_sent(&acks, at(i), i);
    assert_false(feed_acks_take(&acks, at(9), none, &cursor)); /* once more: still not 1 to 8 */
    assert_true(feed_acks_take(&acks, at(8), none, &cursor));
    feed_acks_sent(&acks, at(19), 19);
    for (uint64_t i = 11; i <= 15; i++)
        feed_acks_sent(&acks, at(i), i);
    assert_true(feed_acks_take(&acks, at(19), none, &cursor));
    assert_true(seq_compare(cursor, at(11)) < 0);
    assert_true(feed_acks_take(&acks, at(15), none, &cursor));
    assert_seq(cursor, at(15));
    feed_acks_fini(&acks);
}

/* Against a plain model: whatever the order of sending and acknowledging, the cursor never passes
 * an unacknowledged message, and in the end, with everything acknowledged in the order of sending,
 * it is the newest. */
static void the_cursor_never_passes_what_is_unacknowledged(void **state)
{
    enum { COUNT = 200 };

    (void)state;
    srand(7);
    for (int round = 0; round < 300; round++) {
        struct feed_acks acks = { 0 };
        int order[COUNT];
        bool acked[COUNT + 1] = { false };
        struct seq cursor = none;
        for (int i = 0; i < COUNT; i++)
            order[i] = i + 1;
        for (int i = 0; i < COUNT; i++) /* mostly in order, some far ahead */
            if (rand() % 8 == 0) {
                int j = i + rand() % (COUNT - i), kept = order[j];
                memmove(order + i + 1, order + i, (size_t)(j - i) * sizeof *order);
                order[i] = kept;
            }
        for (int sent = 0, done = 0; sent < COUNT;) {
            uint64_t unsent = 0;
            feed_acks_sent(&acks, at((uint64_t)order[sent]), (uint64_t)order[sent]);
            sent++;
            for (int i = sent; i < COUNT; i++)
                if (!unsent || (uint64_t)order[i] < unsent)
                    unsent = (uint64_t)order[i];
            if (rand() % 4)
                continue;
            done += rand() % (sent - done + 1);
            if (done == 0)
                continue;
            struct seq got;
            for (int i = 0; i < done; i++)
                acked[order[i]] = true;
            if (feed_acks_take(&acks, at((uint64_t)order[done - 1]), (struct seq){ unsent, 0 },
                               &got)) {
                cursor = got;
                for (uint64_t i = 1; i <= COUNT && seq_compare(at(i), cursor) <= 0; i++)
                    assert_true(acked[i]);
            }
        }
        feed_acks_take(&acks, at((uint64_t)order[COUNT - 1]), none, &cursor);
        feed_acks_fini(&acks);
    }
}

static void too_many_runs_stay_bounded(void **state)
{
    struct feed_acks acks = { 0 };
    struct seq cursor = none;

    (void)state;
    for (uint64_t i = 100000; i > 0; i--)
        feed_acks_sent(&acks, at(i), i);
    assert_true(acks.count <= FEED_RUNS_MAX);
    assert_true(feed_acks_take(&acks, at(1), none, &cursor)); /* the last to be sent */
    assert_true(seq_compare(cursor, at(100000)) <= 0);
    feed_acks_fini(&acks);
}

/* ---- feeding ---- */

static void an_empty_mailbox_is_read_all_the_same(void **state)
{
    struct feed feed;

    (void)state;
    assert_int_equal(feed_start(&feed, none, none), FEED_READ);
    assert_int_equal(feed_page(&feed, none, true, true), FEED_REPLAYED);
    assert_int_equal(feed.state, FEED_LIVE);
}

/* A session that is live at `seq`. */
static void begin_at(struct feed *feed, struct seq seq)
{
    assert_int_equal(feed_start(feed, seq, seq), FEED_READ);
    assert_int_equal(feed_page(feed, none, true, true), FEED_REPLAYED);
}

static void a_backlog_is_read_page_by_page_then_live(void **state)
{
    struct feed feed;
    enum feed_step step;

    (void)state;
    assert_int_equal(feed_start(&feed, at(10), at(100)), FEED_READ);
    assert_int_equal(feed_page(&feed, at(42), false, true), FEED_READ);
    assert_int_equal(feed_page(&feed, at(74), false, false), FEED_WAIT); /* no room now */
    assert_int_equal(feed_room(&feed), FEED_READ);
    assert_int_equal(feed_page(&feed, at(100), true, true), FEED_REPLAYED);
    assert_true(feed_offer(&feed, at(101), at(100), true, &step));
    assert_int_equal(step, FEED_NOTHING);
    assert_seq(feed.queued, at(101));
}

/* What pours in while a page is on its way is neither lost nor queued twice, whichever comes first.
 */
static void live_messages_during_a_replay_are_read_not_queued(void **state)
{
    struct feed feed;
    enum feed_step step;

    (void)state;
    feed_start(&feed, none, at(5));
    assert_false(feed_offer(&feed, at(6), at(5), true, &step));
    assert_int_equal(step, FEED_NOTHING);
    assert_int_equal(feed_page(&feed, at(5), true, true), FEED_READ); /* 6 came since */
    assert_int_equal(feed_page(&feed, at(6), true, true), FEED_REPLAYED);
    assert_false(feed_offer(&feed, at(6), at(5), true, &step)); /* the doorbell, late */
    assert_int_equal(step, FEED_NOTHING);
}

static void a_gap_is_filled_from_the_mailbox(void **state)
{
    struct feed feed;
    enum feed_step step;

    (void)state;
    begin_at(&feed, at(10));
    assert_false(feed_offer(&feed, at(12), at(11), true, &step)); /* 11 was not heard */
    assert_int_equal(step, FEED_READ);
    assert_false(feed_offer(&feed, at(11), at(10), true, &step)); /* it comes after all */
    assert_int_equal(step, FEED_NOTHING);
    assert_int_equal(feed_page(&feed, at(12), true, true), FEED_NOTHING);
    assert_int_equal(feed.state, FEED_LIVE);
    assert_true(feed_offer(&feed, at(13), at(12), true, &step));
}

static void a_full_connection_waits_and_goes_on_from_the_mailbox(void **state)
{
    struct feed feed;
    enum feed_step step;

    (void)state;
    begin_at(&feed, none);
    assert_false(feed_offer(&feed, at(1), none, false, &step));
    assert_int_equal(step, FEED_WAIT);
    assert_false(feed_offer(&feed, at(2), at(1), true, &step)); /* in order: not before 1 */
    assert_int_equal(step, FEED_NOTHING);
    assert_int_equal(feed_room(&feed), FEED_READ);
    assert_int_equal(feed_page(&feed, at(2), true, true), FEED_NOTHING);
    assert_seq(feed.queued, at(2));
}

/* One that was recalled between the doorbell and the reading must not be waited for. */
static void what_was_removed_is_not_waited_for(void **state)
{
    struct feed feed;
    enum feed_step step;

    (void)state;
    begin_at(&feed, at(1));
    feed_offer(&feed, at(3), at(2), true, &step);
    assert_int_equal(step, FEED_READ);
    assert_int_equal(feed_page(&feed, none, true, true), FEED_NOTHING);
    assert_int_equal(feed.state, FEED_LIVE);
    assert_seq(feed.queued, at(1));
}

/* The page was read before the message was stored, the doorbell came before the page. */
static void a_message_stored_behind_an_empty_page_is_read(void **state)
{
    struct feed feed;
    enum feed_step step;

    (void)state;
    begin_at(&feed, at(1));
    assert_int_equal(feed_check(&feed, true), FEED_READ);
    assert_false(feed_offer(&feed, at(2), at(1), true, &step));
    assert_int_equal(feed_page(&feed, none, true, true), FEED_READ);
    assert_int_equal(feed_page(&feed, at(2), true, true), FEED_NOTHING);
}

static void a_failed_page_is_made_up_for_by_a_check(void **state)
{
    struct feed feed;

    (void)state;
    assert_int_equal(feed_start(&feed, none, at(9)), FEED_READ);
    feed_failed(&feed);
    assert_int_equal(feed_check(&feed, true), FEED_READ);
    assert_int_equal(feed_page(&feed, at(9), true, true), FEED_REPLAYED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ack_covers_everything_up_to_it),
        cmocka_unit_test(nothing_that_was_not_sent_is_covered),
        cmocka_unit_test(the_run_of_what_was_sent_is_found),
        cmocka_unit_test(one_that_overtook_covers_only_itself),
        cmocka_unit_test(the_cursor_never_passes_what_is_unacknowledged),
        cmocka_unit_test(too_many_runs_stay_bounded),
        cmocka_unit_test(an_empty_mailbox_is_read_all_the_same),
        cmocka_unit_test(a_backlog_is_read_page_by_page_then_live),
        cmocka_unit_test(live_messages_during_a_replay_are_read_not_queued),
        cmocka_unit_test(a_gap_is_filled_from_the_mailbox),
        cmocka_unit_test(a_full_connection_waits_and_goes_on_from_the_mailbox),
        cmocka_unit_test(what_was_removed_is_not_waited_for),
        cmocka_unit_test(a_message_stored_behind_an_empty_page_is_read),
        cmocka_unit_test(a_failed_page_is_made_up_for_by_a_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
