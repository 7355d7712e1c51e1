/* A reader with a receiver that only writes down what the reader asks of it. */
#include "worker/mailbox/reader.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

static struct receiver {
    struct reader reader;
    char acts[512]; /* what the reader did, in order */
    bool room, down;
    uint64_t unwanted, closes_at; /* seqs; 0: none */
} receiver;

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    size_t len = strlen(receiver.acts);
    va_list args;

    va_start(args, format);
    vsnprintf(receiver.acts + len, sizeof receiver.acts - len, format, args);
    va_end(args);
}

static void assert_acts(const char *wanted)
{
    assert_string_equal(receiver.acts, wanted);
    receiver.acts[0] = 0;
}

static struct receiver *reader_receiver(struct reader *reader)
{
    return (struct receiver *)((char *)reader - offsetof(struct receiver, reader));
}

static enum err ask(struct reader *reader)
{
    assert_ptr_equal(reader_receiver(reader), &receiver);
    note("ask>%d ", (int)reader->feed.queued.ms);
    return receiver.down ? ERR_DOWN : OK;
}

static void wait_for_room(struct reader *reader)
{
    (void)reader;
    note("wait ");
}

static bool receiver_has_room(struct reader *reader)
{
    return reader_receiver(reader)->room;
}

static bool wants(struct reader *reader, const struct mailbox_entry *entry)
{
    return entry->seq.ms != reader_receiver(reader)->unwanted;
}

static bool take(struct reader *reader, const struct mailbox_entry *entry, struct msg *msg)
{
    assert_non_null(msg);
    assert_true(slice_equal(msg_slice(msg), entry->body));
    assert_int_equal(msg->kind, MSG_MAIL);
    assert_int_equal(msg->level, entry->level);
    note("%d ", (int)entry->seq.ms);
    return entry->seq.ms != reader_receiver(reader)->closes_at;
}

static void replayed(struct reader *reader)
{
    note("replayed@%d ", reader->feed.level);
}

static bool gap(struct reader *reader, struct seq lost)
{
    note("gap>%d to %d ", (int)reader->feed.queued.ms, (int)lost.ms);
    return !receiver.down;
}

static void failed(struct reader *reader)
{
    (void)reader;
    note("failed ");
}

static const struct reader_kind kind = {
    .ask = ask,
    .wait = wait_for_room,
    .has_room = receiver_has_room,
    .wants = wants,
    .take = take,
    .replayed = replayed,
    .gap = gap,
    .failed = failed,
};

static struct seq at(uint64_t ms)
{
    return (struct seq){ ms, 0 };
}

/* The log's entries first to last; first 0: none. Retention has removed all up to `lost`. */
static void answer_behind(uint64_t lost, uint64_t first, uint64_t last, bool end)
{
    struct mailbox_entry entries[16] = { 0 };
    struct mailbox_page page = {
        .ok = true, .entries = entries, .end = end, .last = at(last), .lost = at(lost)
    };

    for (uint64_t ms = first; first && ms <= last; ms++)
        entries[page.count++] = (struct mailbox_entry){ .seq = at(ms),
                                                        .body = SLICE("{}"),
                                                        .level = (int8_t) - (ms % 5) };
    reader_page(&kind, &receiver.reader, &page);
}

static void answer(uint64_t first, uint64_t last, bool end)
{
    answer_behind(0, first, last, end);
}

static void answer_nothing(void)
{
    reader_page(&kind, &receiver.reader, &(struct mailbox_page){ .ok = false });
}

static bool offer(uint64_t ms, uint64_t before)
{
    return reader_offer(&kind, &receiver.reader, at(ms), at(before), true);
}

static int setup(void **state)
{
    (void)state;
    receiver = (struct receiver){ .room = true };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    reader_fini(&receiver.reader);
    return 0;
}

/* At the end of a log that ends at 5, with nothing noted. */
static void be_live(void)
{
    reader_start(&kind, &receiver.reader, at(5), at(5));
    answer(0, 0, true);
    assert_acts("ask>5 replayed@0 ");
}

static void a_backlog_is_read_page_by_page_and_then_replayed_is_said_once(void **state)
{
    (void)state;
    reader_start(&kind, &receiver.reader, at(0), at(7));
    assert_acts("ask>0 ");
    answer(1, 3, false);
    assert_acts("1 2 3 ask>3 ");
    answer(4, 6, false);
    assert_acts("4 5 6 ask>6 ");
    answer(7, 7, true);
    assert_acts("7 replayed@-4 "); /* at the lowest level of the backlog */
    reader_check(&kind, &receiver.reader, true);
    answer(8, 8, true);
    assert_acts("ask>7 8 ");
}

static void what_is_offered_during_the_replay_comes_once_and_in_order(void **state)
{
    (void)state;
    reader_start(&kind, &receiver.reader, at(0), at(2));
    assert_false(offer(3, 2)); /* stored after the page was asked for */
    answer(1, 2, true);
    assert_acts("ask>0 1 2 ask>2 ");
    answer(3, 3, true);
    assert_acts("3 replayed@-3 ");
    assert_false(offer(3, 2));
    assert_true(offer(4, 3));
    assert_acts("");
}

static void a_gap_is_read_from_the_log(void **state)
{
    (void)state;
    be_live();
    assert_true(offer(6, 5));
    assert_false(offer(8, 7));
    assert_false(offer(9, 8));
    assert_acts("ask>6 ");
    answer(7, 9, true);
    assert_acts("7 8 9 ");
    assert_true(offer(10, 9));
    assert_acts("");
}

static void without_room_a_page_waits_until_there_is(void **state)
{
    (void)state;
    reader_start(&kind, &receiver.reader, at(0), at(9));
    receiver.room = false;
    answer(1, 3, false);
    assert_acts("ask>0 1 2 3 wait ");
    assert_false(offer(10, 9));
    reader_check(&kind, &receiver.reader, true);
    assert_acts("");
    receiver.room = true;
    reader_room(&kind, &receiver.reader);
    assert_acts("ask>3 ");
    reader_room(&kind, &receiver.reader); /* nobody waits any more */
    assert_acts("");
    answer(4, 10, true);
    assert_acts("4 5 6 7 8 9 10 replayed@-4 ");
}

static void a_live_message_without_room_is_read_later(void **state)
{
    (void)state;
    be_live();
    assert_false(reader_offer(&kind, &receiver.reader, at(6), at(5), false));
    assert_acts("wait ");
    reader_room(&kind, &receiver.reader);
    answer(6, 6, true);
    assert_acts("ask>5 6 ");
}

static void a_page_that_fails_is_asked_for_again_by_a_check(void **state)
{
    (void)state;
    reader_start(&kind, &receiver.reader, at(0), at(3));
    answer_nothing();
    assert_acts("ask>0 failed ");
    reader_check(&kind, &receiver.reader, true);
    answer(1, 3, true);
    assert_acts("ask>0 1 2 3 replayed@-3 ");
}

static void a_question_that_cannot_be_asked_is_a_failure(void **state)
{
    (void)state;
    receiver.down = true;
    reader_start(&kind, &receiver.reader, at(0), at(1));
    assert_acts("ask>0 failed ");
    receiver.down = false;
    assert_false(offer(2, 1)); /* a gap: tells of more, and asks again */
    answer(1, 2, true);
    assert_acts("ask>0 1 2 replayed@-2 ");
}

static void a_stale_page_is_dropped_and_the_next_is_taken(void **state)
{
    (void)state;
    reader_start(&kind, &receiver.reader, at(0), at(3));
    reader_reset(&receiver.reader);
    assert_int_equal(receiver.reader.feed.state, FEED_IDLE);
    reader_reset(&receiver.reader); /* no page is on its way that is not stale already */
    reader_start(&kind, &receiver.reader, at(100), at(101));
    assert_acts("ask>0 ask>100 ");
    answer(1, 3, true);
    assert_acts("");
    answer(101, 101, true);
    assert_acts("101 replayed@-1 ");
}

static void what_is_not_wanted_is_skipped_and_does_not_count_for_the_level(void **state)
{
    (void)state;
    receiver.unwanted = 4;
    reader_start(&kind, &receiver.reader, at(2), at(5));
    answer(3, 5, true);
    assert_acts("ask>2 3 5 replayed@-3 ");
    assert_int_equal(receiver.reader.feed.queued.ms, 5);
}

static void a_receiver_that_closes_gets_nothing_more(void **state)
{
    (void)state;
    receiver.closes_at = 2;
    reader_start(&kind, &receiver.reader, at(0), at(9));
    answer(1, 3, false);
    assert_acts("ask>0 1 2 ");
}

static void a_gap_in_a_page_is_told_before_the_page(void **state)
{
    const struct mailbox_entry entry = { .seq = at(5), .body = SLICE("{}") };
    const struct mailbox_page page = {
        .ok = true, .entries = &entry, .count = 1, .gone = 1, .end = true, .last = at(5)
    };

    (void)state;
    reader_start(&kind, &receiver.reader, at(3), at(5));
    reader_page(&kind, &receiver.reader, &page);
    assert_acts("ask>3 gap>3 to 0 5 replayed@0 ");
    reader_reset(&receiver.reader);
    reader_start(&kind, &receiver.reader, at(3), at(5));
    receiver.down = true;
    reader_page(&kind, &receiver.reader, &page);
    assert_acts("ask>3 gap>3 to 0 ");
}

static void what_retention_removed_is_a_gap_that_is_told_once(void **state)
{
    (void)state;
    be_live();
    assert_false(offer(9, 8));
    answer_behind(7, 8, 9, true);
    assert_acts("ask>5 gap>5 to 7 8 9 ");
    assert_true(offer(10, 9));
    reader_check(&kind, &receiver.reader, true);
    answer_behind(7, 0, 0, true); /* the log says so for ever */
    assert_acts("ask>10 ");
}

static void what_was_removed_after_it_had_been_queued_is_no_gap(void **state)
{
    (void)state;
    be_live();
    assert_true(offer(6, 5));
    assert_true(offer(7, 6));
    assert_false(offer(9, 8));
    answer_behind(7, 8, 9, true);
    assert_acts("ask>7 8 9 ");
}

static void each_gap_of_several_is_told_where_it_is(void **state)
{
    (void)state;
    reader_start(&kind, &receiver.reader, at(0), at(9));
    answer_behind(3, 4, 5, false);
    assert_false(offer(15, 14));
    answer_behind(12, 13, 14, false); /* removed while the page before was on its way */
    answer_behind(14, 15, 15, true);  /* 13 and 14 have been queued */
    assert_acts("ask>0 gap>0 to 3 4 5 ask>5 gap>5 to 12 13 14 ask>14 15 replayed@-4 ");
}

static void behind_a_gap_in_which_all_is_gone_the_next_message_is_live(void **state)
{
    (void)state;
    be_live();
    assert_false(offer(8, 7));
    answer_behind(8, 0, 0, true);
    assert_acts("ask>5 gap>5 to 8 ");
    assert_false(offer(8, 7));
    assert_true(offer(9, 8));
    assert_acts("");
}

static void a_page_that_is_dropped_at_a_gap_shows_the_gap_again(void **state)
{
    (void)state;
    be_live();
    receiver.down = true;
    assert_false(offer(9, 8));
    reader_check(&kind, &receiver.reader, true);
    assert_acts("ask>5 failed ask>5 failed ");
    receiver.down = false;
    reader_check(&kind, &receiver.reader, true);
    receiver.down = true;
    answer_behind(7, 8, 9, true);
    assert_acts("ask>5 gap>5 to 7 ");
    reader_fail(&kind, &receiver.reader); /* as a kind does that wants the page again */
    receiver.down = false;
    reader_check(&kind, &receiver.reader, true);
    answer_behind(7, 8, 9, true);
    assert_acts("failed ask>5 gap>5 to 7 8 9 ");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_backlog_is_read_page_by_page_and_then_replayed_is_said_once),
        T(what_is_offered_during_the_replay_comes_once_and_in_order),
        T(a_gap_is_read_from_the_log),
        T(without_room_a_page_waits_until_there_is),
        T(a_live_message_without_room_is_read_later),
        T(a_page_that_fails_is_asked_for_again_by_a_check),
        T(a_question_that_cannot_be_asked_is_a_failure),
        T(a_stale_page_is_dropped_and_the_next_is_taken),
        T(what_is_not_wanted_is_skipped_and_does_not_count_for_the_level),
        T(a_receiver_that_closes_gets_nothing_more),
        T(a_gap_in_a_page_is_told_before_the_page),
        T(what_retention_removed_is_a_gap_that_is_told_once),
        T(what_was_removed_after_it_had_been_queued_is_no_gap),
        T(each_gap_of_several_is_told_where_it_is),
        T(behind_a_gap_in_which_all_is_gone_the_next_message_is_live),
        T(a_page_that_is_dropped_at_a_gap_shows_the_gap_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
