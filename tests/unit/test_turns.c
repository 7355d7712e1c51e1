/* Turns between senders whose letters wait (worker/mailbox/turns.h), through the row, without
 * Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/mailbox/row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PUT_MAX = 4096, SHARE = 20 /* small letters */ };

static struct mailbox mailbox;
static struct note {
    uint16_t lane;
    unsigned number;
    bool given_up;
} notes[PUT_MAX], *finished[PUT_MAX];
static unsigned put_count, finished_count;

static const struct redis_reply good = { .type = REDIS_INTEGER, .integer = 1 };
static const struct redis_reply lost = { .type = REDIS_LOST };

static int begin(void **state)
{
    (void)state;
    mailbox = (struct mailbox){ .state = MAILBOX_UP };
    row_init(&mailbox.row);
    put_count = finished_count = 0;
    return 0;
}

static int row_is_empty_at_the_end(void **state)
{
    static struct op *sent[PUT_MAX]; /* Redis still holds them */
    const struct turns *turns = &mailbox.row.turns;
    unsigned sent_count = 0;
    struct op *op;

    (void)state;
    TAILQ_FOREACH(op, &mailbox.row.ops, link)
    if (op->state == OP_SENT)
        sent[sent_count++] = op;
    row_fini(&mailbox);
    while (sent_count > 0)
        row_answered(sent[--sent_count], &good);
    for (unsigned i = 0; i < TURNS_LANES; i++)
        if (turns->lanes[i].row_cost || turns->lanes[i].waiting_cost)
            return -1;
    return mailbox.row.count == 0 && mailbox.row.bytes == 0 && mailbox.row.queued_count == 0 &&
                   turns->count == 0 && turns->row_cost == 0 && TAILQ_EMPTY(&turns->open) &&
                   finished_count == put_count
               ? 0
               : -1;
}

static void on_finished(struct op *op, const struct redis_reply *reply)
{
    struct note *note = op->arg;

    note->given_up = !reply;
    finished[finished_count++] = note;
}

static struct op *put(uint16_t lane, bool is_append, size_t bytes)
{
    static char text[1 << 20];
    struct slice arg = slice_make(text, bytes);
    struct note *note = &notes[put_count];
    struct op like = { .finish = on_finished,
                       .arg = note,
                       .lane = lane,
                       .arg_count = 1,
                       .script = SCRIPT_NONE,
                       .args = &arg };

    assert_true(put_count < PUT_MAX);
    *note = (struct note){ .lane = lane, .number = put_count++ };
    assert_int_equal(is_append ? row_put_append(&mailbox, &like, NULL) : row_put(&mailbox, &like),
                     OK);
    return row_last(&mailbox);
}

static struct op *put_letter(uint16_t lane)
{
    return put(lane, true, 200);
}

/* The end of a turn. */
static void flush(void)
{
    struct op *op;

    row_take_turns(&mailbox);
    TAILQ_FOREACH(op, &mailbox.row.ops, link)
    if (op->state == OP_QUEUED)
        row_sent(op);
}

/* Redis answers the oldest command; false: none has been sent. */
static bool answer_oldest(void)
{
    struct op *op = TAILQ_FIRST(&mailbox.row.ops);

    if (!op || op->state != OP_SENT)
        return false;
    row_answered(op, &good);
    return true;
}

static void answer_all(void)
{
    do
        flush();
    while (answer_oldest());
}

static size_t count_before(const struct op *op)
{
    size_t count = 0;

    for (const struct op *other = TAILQ_FIRST(&mailbox.row.ops); other;
         other = TAILQ_NEXT(other, link)) {
        if (other == op)
            return count;
        count++;
    }
    assert_true(false);
    return 0;
}

static unsigned place_of(unsigned number)
{
    for (unsigned i = 0; i < finished_count; i++)
        if (finished[i]->number == number)
            return i;
    assert_true(false);
    return 0;
}

/* ---- */

static void a_neighbours_letter_waits_for_a_share_and_not_for_the_pile(void **state)
{
    struct op *neighbours;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        put_letter(1);
    neighbours = put_letter(2);
    assert_true(count_before(neighbours) <= SHARE);
    answer_all();
    assert_true(place_of(1000) <= SHARE);
    assert_int_equal(finished_count, 1001);
}

static void a_neighbours_letter_waits_for_a_share_at_any_time(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        put_letter(1);
    for (unsigned i = 0; i < 20; i++) {
        unsigned number, before;
        flush();
        for (unsigned j = 0; j <= i % SHARE; j++)
            assert_true(answer_oldest());
        number = put_count;
        before = finished_count;
        put_letter(2);
        while (flush(), answer_oldest() && finished[finished_count - 1]->number != number) {
        }
        assert_true(finished_count - before <= 2 * SHARE);
    }
    answer_all();
}

static void the_order_of_each_sender_is_kept(void **state)
{
    unsigned last[3] = { 0 };

    (void)state;
    for (unsigned i = 0; i < 600; i++)
        put_letter((uint16_t)(1 + i % 3));
    answer_all();
    for (unsigned i = 0; i < finished_count; i++) {
        unsigned *its = &last[finished[i]->lane - 1];
        assert_true(*its == 0 || finished[i]->number > *its);
        *its = finished[i]->number;
    }
}

/* mailbox_body.c: the body, its letters, the removal of the body. */
static void a_body_goes_before_its_letters_and_is_removed_behind_them(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 40; i++)
        put_letter(7);
    put(7, true, 900000);
    for (unsigned i = 0; i < 100; i++)
        put_letter(7);
    put(7, false, 40);
    answer_all();
    for (unsigned i = 0; i < finished_count; i++)
        assert_int_equal(finished[i]->number, i);
}

static void a_command_without_a_lane_never_waits(void **state)
{
    struct op *page;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        put_letter(1);
    page = put(0, false, 10);
    assert_int_equal(page->state, OP_QUEUED);
    assert_true(count_before(page) <= SHARE);
}

static void a_few_letters_of_each_of_many_senders_never_wait(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 16; i++)
        for (uint16_t lane = 1; lane <= 25; lane++)
            assert_int_equal(put_letter(lane)->state, OP_QUEUED);
    assert_int_equal(mailbox.counts.turns_waited, 0);
}

/* Large letters and small ones get the same bytes. */
static void when_the_row_is_full_lanes_take_turns_by_bytes(void **state)
{
    size_t large = 0, small = 0;

    (void)state;
    for (uint16_t lane = 100; lane < 245; lane++) /* these fill the row, and are never answered */
        put(lane, true, 220000);
    for (unsigned i = 0; i < 16; i++)
        put(1, true, 110000);
    for (unsigned i = 0; i < 160; i++)
        put(2, true, 100);
    flush();
    assert_int_equal(mailbox.row.turns.lanes[0].row_cost + mailbox.row.turns.lanes[1].row_cost, 0);
    while (large + small < 12 * (110000 + TURNS_LETTER_COST)) {
        unsigned before = finished_count;
        flush();
        assert_true(answer_oldest());
        if (finished[before]->lane == 1)
            large += 110000 + TURNS_LETTER_COST;
        if (finished[before]->lane == 2)
            small += 100 + TURNS_LETTER_COST;
    }
    assert_true(large > small / 2 && small > large / 2);
}

static void what_waits_is_given_up_when_redis_goes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 40; i++)
        put_letter(1);
    flush();
    row_answered(TAILQ_FIRST(&mailbox.row.ops), &lost); /* perhaps stored */
    row_give_up_unsent(&mailbox);
    assert_int_equal(finished_count, 40 - SHARE);
    for (unsigned i = 0; i < finished_count; i++)
        assert_true(finished[i]->given_up && finished[i]->number >= SHARE);
}

static void what_waits_too_long_is_given_up(void **state)
{
    struct op *newest = NULL;

    (void)state;
    for (unsigned i = 0; i < 40; i++)
        newest = put_letter(1);
    flush();
    row_give_up_older(&mailbox, newest->since_ms - 1000);
    assert_int_equal(finished_count, 0);
    row_give_up_older(&mailbox, newest->since_ms);
    assert_int_equal(finished_count, 40 - SHARE); /* the others are on their way */
}

/* An earlier letter whose answer was lost is given up when a later one is stored; the letters that
 * wait are later than both. */
static void what_waits_is_not_given_up_for_a_letter_before_it(void **state)
{
    struct op *first, *second;

    (void)state;
    first = put_letter(1);
    second = put_letter(1);
    for (unsigned i = 0; i < 30; i++)
        put_letter(1);
    flush();
    row_answered(first, &lost);
    row_answered(second, &good);
    assert_int_equal(finished_count, 2);
    assert_true(notes[0].given_up && !notes[1].given_up);
    answer_all();
    for (unsigned i = 2; i < put_count; i++)
        assert_false(notes[i].given_up);
}

static void an_answered_letter_that_waits_for_replicas_takes_no_share(void **state)
{
    (void)state;
    mailbox.replica = true;
    for (unsigned i = 0; i < 3 * SHARE; i++)
        put_letter(1);
    flush();
    for (struct op *op = TAILQ_FIRST(&mailbox.row.ops); op && op->state == OP_SENT;
         op = TAILQ_NEXT(op, link)) {
        row_answered(op, &good);
        finished_count--; /* the append stays in the row */
    }
    flush();
    assert_int_equal(mailbox.row.turns.count, SHARE);
    mailbox.replica = false;
}

static void a_long_lane_says_once_when_it_is_short_again(void **state)
{
    unsigned count = TURNS_LONG / TURNS_LETTER_COST + 2 * SHARE;

    (void)state;
    assert_false(turns_is_long(&mailbox.row.turns, 1));
    for (unsigned i = 0; i < count; i++)
        put_letter(1);
    assert_true(turns_is_long(&mailbox.row.turns, 1));
    assert_false(turns_is_long(&mailbox.row.turns, 2));
    assert_false(turns_take_drained(&mailbox.row.turns));
    answer_all();
    assert_false(turns_is_long(&mailbox.row.turns, 1));
    assert_true(turns_take_drained(&mailbox.row.turns));
    assert_false(turns_take_drained(&mailbox.row.turns));
}

/* ---- random sequences against the rules ---- */

static void check_rules(void)
{
    const struct op *op;
    unsigned newest[8] = { 0 };

    for (op = TAILQ_FIRST(&mailbox.row.ops); op; op = TAILQ_NEXT(op, link)) {
        const struct note *note = op->arg;
        assert_true(newest[note->lane] <= note->number); /* in order; and all that waits is newer */
        newest[note->lane] = note->number;
    }
    for (uint16_t lane = 1; lane < 8; lane++) {
        const struct lane *its = &mailbox.row.turns.lanes[lane - 1];
        op = turns_first(&mailbox.row.turns, lane);
        assert_true(!op || ((struct note *)op->arg)->number > newest[lane]);
        assert_true(its->row_cost < TURNS_SHARE + TURNS_LETTER_COST + (300 << 10));
        assert_true(!op || its->row_cost > 0 || its->is_open); /* nothing waits for ever */
    }
}

static void any_sequence_keeps_the_rules(void **state)
{
    (void)state;
    srand(7);
    for (unsigned round = 0; round < 200; round++) {
        unsigned from = put_count;
        for (unsigned step = 0; step < 200 && put_count < PUT_MAX; step++) {
            int dice = rand() % 10;
            if (dice < 6)
                put((uint16_t)(rand() % 4 ? 1 + rand() % 7 : 1), true,
                    rand() % 50 ? 100 : (size_t)(rand() % (300 << 10)));
            else if (dice < 7)
                flush();
            else
                answer_oldest();
            check_rules();
        }
        answer_all();
        assert_int_equal(mailbox.row.count, 0);
        assert_true(finished_count > from || put_count == PUT_MAX);
        put_count = finished_count = 0;
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, row_is_empty_at_the_end)
    const struct CMUnitTest tests[] = {
        TEST(a_neighbours_letter_waits_for_a_share_and_not_for_the_pile),
        TEST(a_neighbours_letter_waits_for_a_share_at_any_time),
        TEST(the_order_of_each_sender_is_kept),
        TEST(a_body_goes_before_its_letters_and_is_removed_behind_them),
        TEST(a_command_without_a_lane_never_waits),
        TEST(a_few_letters_of_each_of_many_senders_never_wait),
        TEST(when_the_row_is_full_lanes_take_turns_by_bytes),
        TEST(what_waits_is_given_up_when_redis_goes),
        TEST(what_waits_too_long_is_given_up),
        TEST(what_waits_is_not_given_up_for_a_letter_before_it),
        TEST(an_answered_letter_that_waits_for_replicas_takes_no_share),
        TEST(a_long_lane_says_once_when_it_is_short_again),
        TEST(any_sequence_keeps_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
