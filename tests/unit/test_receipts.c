/* What a session's acks ask of Redis when receipts are wanted: with everything around it stood in
 * for, so that answers can come late, or not at all. */
/* NOLINTNEXTLINE(bugprone-suspicious-include): what is asked for, and when, is static in it */
#include "worker/delivery/receipts.c"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_read.h"
#include "worker/mailbox/mailbox_receipts.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static struct office office;
static struct session session;
static struct session_opening opening;
static struct {
    unsigned asks, plain_acks, aborts;
    struct mailbox_range ranges[RANGES_MAX];
    size_t count;
    struct seq cursor;
    bool down;
} redis;

/* Paying has a test of its own. */
void payment_pay_all(struct office *at, struct mailbox_debts *debts)
{
    (void)at;
    (void)debts;
}

void conn_abort_no_memory(struct conn *conn)
{
    (void)conn;
    redis.aborts++;
}

enum err mailbox_ack(struct mailbox *mailbox, struct slice address, struct slice device,
                     struct seq seq, mailbox_done_cb done, void *arg)
{
    (void)mailbox;
    (void)address;
    (void)device;
    (void)done;
    (void)arg;
    redis.plain_acks++;
    redis.cursor = seq;
    return OK;
}

enum err mailbox_ack_asked(struct mailbox *mailbox, struct slice address, struct slice device,
                           struct seq seq, const struct mailbox_range *ranges, size_t range_count,
                           mailbox_acked_cb done, void *arg)
{
    (void)mailbox;
    (void)address;
    (void)device;
    (void)done;
    (void)arg;
    if (redis.down)
        return ERR_DOWN;
    assert_true(range_count <= RANGES_MAX);
    if (range_count)
        memcpy(redis.ranges, ranges, range_count * sizeof *ranges);
    redis.count = range_count;
    redis.cursor = seq;
    redis.asks++;
    return OK;
}

static struct seq at(uint64_t ms, uint64_t n)
{
    return (struct seq){ ms, n };
}

static int begin(void **state)
{
    (void)state;
    memset(&redis, 0, sizeof redis);
    memset(&session, 0, sizeof session);
    memset(&office, 0, sizeof office);
    session.office = &office;
    session.opening = &opening;
    opening.address = SLICE("bob");
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (session.receipts.job)
        session.receipts.job->busy = false; /* no answer will come */
    receipts_forget(&session);
    feed_acks_fini(&session.reader.feed.acks);
    return 0;
}

static uint64_t number;

static void leaves(struct seq seq, bool asks)
{
    if (asks)
        receipts_expect(&session, seq);
    feed_acks_sent(&session.reader.feed.acks, seq, ++number);
}

/* As carrier_ack does it, with nothing unsent. */
static void acks(struct seq seq)
{
    struct seq cursor;

    receipts_note_ack(&session, seq);
    assert_true(feed_acks_take(&session.reader.feed.acks, seq, at(0, 0), &cursor));
    if (seq_compare(cursor, session.cursor) > 0)
        session.cursor = cursor;
    receipts_store_cursor(&session);
}

static void answers(bool ok, bool more)
{
    assert_non_null(session.receipts.job);
    on_ranges_acked(session.receipts.job, &(struct mailbox_acked){ .ok = ok, .more = more });
}

static void an_ack_where_nobody_asked_costs_what_it_did(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 9; i++)
        leaves(at(i, 0), i == 7);
    acks(at(3, 0));
    acks(at(6, 0));
    assert_int_equal(redis.plain_acks, 2);
    assert_int_equal(redis.asks, 0);
    assert_null(session.receipts.job);
    acks(at(8, 0));
    assert_int_equal(redis.asks, 1);
    answers(true, false);
    acks(at(9, 0));
    assert_int_equal(redis.plain_acks, 3);
    assert_int_equal(redis.asks, 1);
    assert_null(session.receipts.job);
}

static void what_is_acknowledged_while_redis_thinks_is_one_range_afterwards(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 9; n++)
        leaves(at(5, n), true);
    acks(at(5, 2));
    assert_int_equal(redis.count, 1);
    assert_true(seq_compare(redis.ranges[0].first, at(5, 1)) == 0);
    assert_true(seq_compare(redis.ranges[0].last, at(5, 2)) == 0);
    for (uint64_t n = 3; n <= 6; n++)
        acks(at(5, n));
    assert_int_equal(redis.asks, 1);
    answers(true, true); /* the same once more, and what has come since */
    assert_int_equal(redis.asks, 2);
    assert_int_equal(redis.count, 2);
    assert_true(seq_compare(redis.ranges[1].first, at(5, 3)) == 0);
    assert_true(seq_compare(redis.ranges[1].last, at(5, 6)) == 0);
    assert_true(seq_compare(redis.cursor, at(5, 6)) == 0);
    answers(true, false);
    assert_int_equal(redis.asks, 2);
    assert_null(session.receipts.job);
}

static void the_cursor_follows_when_it_alone_has_moved(void **state)
{
    (void)state;
    leaves(at(1, 0), true);
    leaves(at(2, 0), false);
    acks(at(1, 0));
    acks(at(2, 0)); /* must not be stored before the receipt is owed */
    assert_int_equal(redis.plain_acks, 0);
    answers(true, false);
    assert_true(seq_compare(redis.cursor, at(2, 0)) == 0);
    answers(true, false);
    assert_null(session.receipts.job);
}

static void an_answer_that_did_not_come_is_asked_for_again(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 4; n++)
        leaves(at(5, n), true);
    acks(at(5, 1));
    answers(false, false);
    assert_true(office.catch_up_again);
    redis.down = true;
    acks(at(5, 3));
    redis.down = false;
    receipts_retry(&session);
    receipts_retry(&session); /* one at a time */
    assert_int_equal(redis.asks, 2);
    assert_true(seq_compare(redis.ranges[0].first, at(5, 1)) == 0);
    assert_true(seq_compare(redis.ranges[redis.count - 1].last, at(5, 3)) == 0);
    answers(true, false);
    assert_null(session.receipts.job);
}

/* Each second one is of a higher level and leaves first: ranges that cannot be joined. */
static void a_cursor_stays_before_what_there_was_no_room_for(void **state)
{
    uint64_t n = 1;

    (void)state;
    redis.down = true;
    for (unsigned i = 0; i < RANGES_MAX + 20; i++, n += 2) {
        leaves(at(9, n), true);
        number++; /* something else left in between */
        acks(at(9, n));
    }
    redis.down = false;
    receipts_retry(&session);
    assert_int_equal(redis.count, RANGES_MAX);
    assert_true(seq_compare(redis.cursor, at(9, 2 * RANGES_MAX)) == 0);
    answers(true, false);
    assert_non_null(session.receipts.job);
    leaves(at(9, n), true);
    acks(at(9, n));
    assert_true(seq_compare(redis.cursor, at(9, 2 * RANGES_MAX)) == 0);
    assert_int_equal(redis.plain_acks, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(an_ack_where_nobody_asked_costs_what_it_did),
        T(what_is_acknowledged_while_redis_thinks_is_one_range_afterwards),
        T(the_cursor_follows_when_it_alone_has_moved),
        T(an_answer_that_did_not_come_is_asked_for_again),
        T(a_cursor_stays_before_what_there_was_no_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
