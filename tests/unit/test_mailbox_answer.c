/* How answers of Redis are read (worker/mailbox/mailbox_answer.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/mailbox/mailbox_answer.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

static struct mailbox mailbox;

static int begin(void **state)
{
    (void)state;
    mailbox = (struct mailbox){ .epoch = "e1" };
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(mailbox.places);
    free(mailbox.at);
    free(mailbox.entries);
    return 0;
}

/* --- answers as Redis writes them --- */

static redisReader *reader;
static redisReply *parsed;

static struct redis_reply answer(const char *resp)
{
    void *whole = NULL;

    reader = redisReaderCreate();
    assert_int_equal(redisReaderFeed(reader, resp, strlen(resp)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &whole), REDIS_OK);
    parsed = whole;
    assert_non_null(parsed);
    assert_int_equal(parsed->type, REDIS_REPLY_ARRAY);
    return (struct redis_reply){ .type = REDIS_ARRAY, .array = parsed, .count = parsed->elements };
}

static void answer_end(void)
{
    freeReplyObject(parsed);
    redisReaderFree(reader);
}

/* --- promises --- */

static void an_element_of_another_type_is_no_number_and_no_position(void **state)
{
    struct redis_reply reply = answer("*4\r\n:7\r\n:-1\r\n$3\r\n5-6\r\n$1\r\nx\r\n");
    struct seq seq = { 0, 0 };

    (void)state;
    assert_int_equal(mailbox_answer_number(&reply, 0), 7);
    assert_int_equal(mailbox_answer_number(&reply, 1), -1);
    assert_int_equal(mailbox_answer_number(&reply, 2), -1);
    assert_int_equal(mailbox_answer_number(&reply, 4), -1);
    assert_int_equal(mailbox_answer_number(NULL, 0), -1);
    assert_true(mailbox_answer_seq(&reply, 2, &seq));
    assert_int_equal(seq.n, 6);
    assert_false(mailbox_answer_seq(&reply, 0, &seq));
    assert_false(mailbox_answer_seq(&reply, 3, &seq));
    assert_false(mailbox_answer_seq(&reply, 4, &seq));
    answer_end();
}

static void a_cursor_knows_its_epoch(void **state)
{
    struct mailbox_opened opened = { .ok = false };

    (void)state;
    assert_true(mailbox_answer_cursor(&mailbox, SLICE("12-3@e1"), &opened));
    assert_int_equal(opened.cursor.ms, 12);
    assert_true(opened.cursor_epoch_ok);
    assert_true(mailbox_answer_cursor(&mailbox, SLICE("12-3@e2"), &opened));
    assert_false(opened.cursor_epoch_ok);
    assert_false(mailbox_answer_cursor(&mailbox, SLICE("12-3"), &opened));
    assert_false(mailbox_answer_cursor(&mailbox, SLICE("x@e1"), &opened));
    assert_false(mailbox_answer_cursor(&mailbox, SLICE(""), &opened));
}

static void places_past_the_limit_are_dropped_and_counted(void **state)
{
    struct redis_reply reply = answer("*2\r\n$1\r\na\r\n$1\r\nb\r\n");

    (void)state;
    assert_int_equal(mailbox_answer_places(&mailbox, &reply, 2), 2);
    assert_true(slice_equal(mailbox.places[1], SLICE("b")));
    assert_true(mailbox_answer_reserve_places(&mailbox, 4096));
    assert_int_equal(mailbox.counts.places_dropped, 0);
    assert_int_equal(mailbox_answer_places(&mailbox, &reply, 4097), 0);
    assert_int_equal(mailbox.counts.places_dropped, 4097);
    answer_end();
}

static void only_fields_of_sessions_are_sessions(void **state)
{
    struct redis_reply reply = answer("*6\r\n$9\r\na:1:2/1f4\r\n$7\r\n7 phone\r\n$5\r\na:1:2\r\n"
                                      "$1\r\n1\r\n$7\r\na:1:2/x\r\n$3\r\n1 y\r\n");
    const struct at_session *sessions;

    (void)state;
    assert_int_equal(mailbox_answer_sessions(&mailbox, &reply, &sessions), 1);
    assert_int_equal(sessions[0].number, 0x1f4);
    assert_int_equal(sessions[0].opened_us, 7);
    assert_true(slice_equal(sessions[0].device, SLICE("phone")));
    answer_end();
    reply = (struct redis_reply){ .type = REDIS_NIL };
    assert_int_equal(mailbox_answer_sessions(&mailbox, &reply, &sessions), 0);
    assert_null(sessions);
}

static void a_foreign_entry_is_left_out_counted_and_read_over(void **state)
{
    struct redis_reply reply =
        answer("*5\r\n:1\r\n$3\r\n3-0\r\n"
               "*2\r\n$3\r\n1-0\r\n*10\r\n$1\r\nf\r\n$1\r\na\r\n$1\r\ni\r\n$1\r\nm\r\n"
               "$1\r\nb\r\n$2\r\n{}\r\n$1\r\nx\r\n$2\r\n99\r\n$1\r\nl\r\n$2\r\n-3\r\n"
               "*2\r\n$3\r\n2-0\r\n*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n"
               "*2\r\n$3\r\n3-0\r\n*-1\r\n");
    struct mailbox_page page;

    (void)state;
    assert_true(mailbox_page_parse(&mailbox, &reply, &page));
    assert_int_equal(page.count, 1);
    assert_false(page.end);
    assert_int_equal(page.entries[0].expires_at, 99);
    assert_int_equal(page.entries[0].level, -3);
    assert_int_equal(page.last.ms, 3);
    assert_int_equal(mailbox.counts.bad, 2);
    answer_end();
}

static void a_position_behind_the_entries_is_what_retention_removed(void **state)
{
    static const struct {
        const char *text;
        uint64_t lost;
        bool end_is_zero;
    } cases[] = {
        { "*3\r\n:0\r\n$0\r\n\r\n$3\r\n9-0\r\n", 9, true },
        { "*2\r\n:0\r\n$3\r\n9-0\r\n", 0, false }, /* LAST is no such position */
        { "*3\r\n:0\r\n$0\r\n\r\n$3\r\n9-x\r\n", 0, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct redis_reply reply = answer(cases[i].text);
        struct mailbox_page page;
        assert_true(mailbox_page_parse(&mailbox, &reply, &page));
        assert_int_equal(page.count, 0);
        assert_int_equal(page.lost.ms, cases[i].lost);
        assert_int_equal(seq_is_zero(page.last), cases[i].end_is_zero);
        answer_end();
    }
}

static void a_field_out_of_its_range_makes_an_entry_foreign(void **state)
{
    static const char *const fields[] = {
        "$1\r\nl\r\n$2\r\n10\r\n",         "$1\r\nr\r\n$2\r\n-1\r\n",
        "$1\r\nx\r\n$2\r\n1x\r\n",         "$1\r\nx\r\n$0\r\n\r\n",
        "$1\r\nb\r\n$2\r\n[]\r\n",         "$1\r\nb\r\n$3\r\n{\xff}\r\n",
        "$1\r\nb\r\n$4\r\n{\xc0\xaf}\r\n", "$1\r\nb\r\n$2\r\n{\xe2\r\n"
    };

    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct mailbox_entry entry;
        struct redis_reply reply;
        char resp[256];
        snprintf(resp, sizeof resp,
                 "*2\r\n$3\r\n1-0\r\n*8\r\n$1\r\nf\r\n$1\r\na\r\n$1\r\ni\r\n$1\r\nm\r\n"
                 "$1\r\nb\r\n$2\r\n{}\r\n%s",
                 fields[i]);
        reply = answer(resp);
        assert_false(mailbox_entry_parse(&reply, &entry));
        answer_end();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(an_element_of_another_type_is_no_number_and_no_position),
        TEST(a_cursor_knows_its_epoch),
        TEST(places_past_the_limit_are_dropped_and_counted),
        TEST(only_fields_of_sessions_are_sessions),
        TEST(a_foreign_entry_is_left_out_counted_and_read_over),
        TEST(a_position_behind_the_entries_is_what_retention_removed),
        TEST(a_field_out_of_its_range_makes_an_entry_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
