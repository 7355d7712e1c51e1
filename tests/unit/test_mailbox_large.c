/* Pages of one large message: read by plain commands after a large page, whatever Redis answers. */
#include "office_redis_fixture.h"

#include "worker/mailbox/mailbox_read.h"

enum { LARGE = 64 << 10 };

/* The page that came last, and how many have come. */
static struct {
    unsigned count;
    bool ok, end;
    size_t entries, gone, body_len;
    struct seq last;
    char from[32], id[32];
} heard;

static void keep_text(char room[32], struct slice text)
{
    assert_true(text.len < 32);
    memcpy(room, text.data, text.len);
    room[text.len] = 0;
}

static void page_came(void *arg, const struct mailbox_page *page)
{
    (void)arg;
    heard.count++;
    heard.ok = page->ok;
    heard.end = page->end;
    heard.entries = page->count;
    heard.gone = page->gone;
    heard.last = page->last;
    heard.body_len = 0;
    if (page->count > 0) {
        heard.body_len = page->entries[0].body.len;
        keep_text(heard.from, page->entries[0].from);
        keep_text(heard.id, page->entries[0].id);
    }
}

static char body[LARGE + 1];

static int setup(void **state)
{
    (void)state;
    office_redis_open("");
    lease_answer(NULL, NULL, "0");
    memset(&heard, 0, sizeof heard);
    memset(body, ' ', LARGE);
    body[0] = '{';
    body[LARGE - 1] = '}';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    return 0;
}

static void request_before(uint64_t ms, const char *thread)
{
    struct slice of_thread = thread ? slice_of(thread) : (struct slice){ 0 };

    assert_int_equal(mailbox_history(office.mailbox, SLICE("bob"), of_thread, (struct seq){ ms, 0 },
                                     50, page_came, NULL),
                     OK);
    turns(2);
}

static void turns_for_large(void)
{
    turns(8); /* a large answer is read by pieces */
}

/* The page that says that the address's messages are large. */
static void read_large_page(void)
{
    request_before(9, NULL);
    answer(asked_next("XREVRANGE", "{bob}:box"), "[is[s[ssssss]]]", 1LL, "8-0", "8-0", "f", "ann",
           "i", "m8", "b", body);
    turns_for_large();
    assert_int_equal(heard.count, 1);
}

static struct asked *plain_next(const char *name, const char *from, const char *to)
{
    struct asked *asked = asked_next(name, "{bob}:box");

    assert_arg(asked, 0, name);
    assert_arg(asked, 2, from);
    assert_arg(asked, 3, to);
    return asked;
}

static void the_page_behind_a_large_one_is_one_plain_command(void **state)
{
    struct asked *asked;

    (void)state;
    read_large_page();
    request_before(8, NULL);
    asked = plain_next("XREVRANGE", "7-18446744073709551615", "-");
    assert_arg(asked, 4, "COUNT");
    assert_arg(asked, 5, "1");
    answer(asked, "[[s[ssssss]]]", "7-0", "f", "ann", "i", "m7", "b", body);
    turns_for_large();
    assert_int_equal(heard.count, 2);
    assert_true(heard.ok && !heard.end && heard.entries == 1);
    assert_int_equal(heard.body_len, LARGE);
    assert_true(heard.last.ms == 7);
    request_before(7, NULL);
    answer(plain_next("XREVRANGE", "6-18446744073709551615", "-"), "[]");
    turns(2);
    assert_true(heard.count == 3 && heard.ok && heard.end && heard.entries == 0);
}

/* A small message is met: the script reads the page, from the same place and with the reader's
 * bounds. */
static void end_by_script(void)
{
    struct asked *asked = asked_next("XREVRANGE", "{bob}:box");

    assert_int_equal(heard.count, 1);
    assert_arg(asked, 0, "EVALSHA");
    assert_arg(asked, 5, "7-18446744073709551615");
    assert_arg(asked, 6, "50");
    answer(asked, "[is[s[ssssss]][s[ssssss]]]", 0LL, "6-0", "7-0", "f", "ann", "i", "m7", "b", "{}",
           "6-0", "f", "ann", "i", "m6", "b", "{}");
    turns(2);
    assert_true(heard.count == 2 && heard.ok && heard.end && heard.entries == 2);
}

static void a_small_message_comes_with_all_that_the_page_has_room_for(void **state)
{
    (void)state;
    read_large_page();
    request_before(8, NULL);
    answer(plain_next("XREVRANGE", "7-18446744073709551615", "-"), "[[s[ssssss]]]", "7-0", "f",
           "ann", "i", "m7", "b", "{}");
    turns(2);
    end_by_script();
    request_before(6, NULL);
    assert_arg(asked_next("XREVRANGE", "{bob}:box"), 0, "EVALSHA");
}

static void a_reader_who_asked_for_one_gets_the_small_message_at_once(void **state)
{
    (void)state;
    read_large_page();
    assert_int_equal(mailbox_history(office.mailbox, SLICE("bob"), (struct slice){ 0 },
                                     (struct seq){ 8, 0 }, 1, page_came, NULL),
                     OK);
    turns(2);
    answer(plain_next("XREVRANGE", "7-18446744073709551615", "-"), "[[s[ssssss]]]", "7-0", "f",
           "ann", "i", "m7", "b", "{}");
    turns(2);
    assert_true(heard.count == 2 && heard.ok && !heard.end && heard.entries == 1);
}

static void a_large_message_that_had_no_room_is_read_plainly_next(void **state)
{
    (void)state;
    request_before(9, NULL);
    answer(asked_next("XREVRANGE", "{bob}:box"), "[is[s[ssssss]]]", 1LL + LARGE, "8-0", "8-0", "f",
           "ann", "i", "m8", "b", "{}");
    turns(2);
    assert_true(heard.count == 1 && heard.ok && !heard.end && heard.entries == 1);
    request_before(8, NULL);
    plain_next("XREVRANGE", "7-18446744073709551615", "-");
}

static void a_page_forwards_is_always_a_script_s(void **state)
{
    (void)state;
    read_large_page();
    assert_int_equal(
        mailbox_read(office.mailbox, SLICE("bob"), (struct seq){ 1, 0 }, page_came, NULL), OK);
    turns(2);
    assert_arg(asked_next("XRANGE", "{bob}:box"), 0, "EVALSHA");
}

/* The entry names its body, which is asked for next. */
static struct asked *read_entry_of_shared_body(void)
{
    read_large_page();
    request_before(8, NULL);
    answer(plain_next("XREVRANGE", "7-18446744073709551615", "-"), "[[s[ssssssss]]]", "7-0", "f",
           "ann", "i", "m7", "b", "@0123456789abcdef0123456789abcdef", "s", "65536");
    turns(2);
    assert_int_equal(heard.count, 1);
    return asked_next("GET", "body:0123456789abcdef0123456789abcdef");
}

static void a_shared_body_is_read_from_its_own_key(void **state)
{
    (void)state;
    answer(read_entry_of_shared_body(), "s", body);
    turns_for_large();
    assert_true(heard.count == 2 && heard.ok && heard.entries == 1);
    assert_int_equal(heard.body_len, LARGE);
    assert_string_equal(heard.from, "ann");
    assert_string_equal(heard.id, "m7");
    assert_true(heard.last.ms == 7);
}

static void a_small_shared_body_comes_with_all_that_the_page_has_room_for(void **state)
{
    (void)state;
    answer(read_entry_of_shared_body(), "s", "{}");
    turns(2);
    end_by_script();
}

static void redis_goes_while_the_script_takes_over(void **state)
{
    (void)state;
    answer(read_entry_of_shared_body(), "s", "{}");
    turns(2);
    redis_goes();
    turns(2);
    assert_true(heard.count == 2 && !heard.ok);
}

static void a_shared_body_that_is_gone_is_counted(void **state)
{
    (void)state;
    answer(read_entry_of_shared_body(), "s", "gone");
    turns(2);
    assert_true(heard.count == 2 && heard.ok && !heard.end);
    assert_true(heard.entries == 0 && heard.gone == 1 && heard.last.ms == 7);
    assert_int_equal(mailbox_take_counts(office.mailbox).bodies_gone, 1);
}

static void a_shared_body_of_another_type_is_gone(void **state)
{
    struct asked *asked;

    (void)state;
    asked = read_entry_of_shared_body();
    buf_add_text(&asked->answer, "-WRONGTYPE Operation against a key\r\n");
    asked->answered = true;
    turns(2);
    assert_true(heard.count == 2 && heard.ok && heard.gone == 1);
}

static void a_shared_body_that_is_not_to_be_had_fails_the_page(void **state)
{
    struct asked *asked;

    (void)state;
    asked = read_entry_of_shared_body();
    buf_add_text(&asked->answer, "-NOPERM this user has no permissions\r\n");
    asked->answered = true;
    turns(2);
    assert_true(heard.count == 2 && !heard.ok);
}

static void a_shared_body_that_is_no_text_is_left_out(void **state)
{
    (void)state;
    answer(read_entry_of_shared_body(), "s", "{\xff}");
    turns(2);
    assert_true(heard.count == 2 && heard.ok && heard.entries == 0 && heard.gone == 0);
    assert_int_equal(mailbox_take_counts(office.mailbox).bad, 1);
}

static void redis_goes_while_a_shared_body_is_read(void **state)
{
    (void)state;
    read_entry_of_shared_body();
    redis_goes();
    turns(2);
    assert_true(heard.count == 2 && !heard.ok);
}

static void the_worker_ends_while_a_shared_body_is_read(void **state)
{
    (void)state;
    read_entry_of_shared_body();
    office.closed = true;
    mailbox_free(office.mailbox);
    office.mailbox = NULL;
    assert_true(heard.count == 2 && !heard.ok);
}

static void a_foreign_entry_is_passed_over(void **state)
{
    (void)state;
    read_large_page();
    request_before(8, NULL);
    answer(plain_next("XREVRANGE", "7-18446744073709551615", "-"), "[[s[ss]]]", "7-0", "k", "v");
    turns(2);
    assert_true(heard.count == 2 && heard.ok && !heard.end && heard.entries == 0);
    assert_true(heard.last.ms == 7);
}

static void a_log_of_another_type_fails_the_page(void **state)
{
    struct asked *asked;

    (void)state;
    read_large_page();
    request_before(8, NULL);
    asked = plain_next("XREVRANGE", "7-18446744073709551615", "-");
    buf_add_text(&asked->answer, "-WRONGTYPE Operation against a key\r\n");
    asked->answered = true;
    turns(2);
    assert_true(heard.count == 2 && !heard.ok);
}

static struct asked *thread_position_next(void)
{
    struct asked *asked;

    read_large_page();
    request_before(8, "t1");
    asked = asked_next("EVALSHA", "{bob}:box");
    assert_arg(asked, 6, "t1");
    assert_arg(asked, 8, "1");
    assert_arg(asked, 9, "0");
    return asked;
}

static void a_thread_is_read_by_its_positions(void **state)
{
    (void)state;
    answer(thread_position_next(), "[is]", 1LL, "5-0");
    turns(2);
    answer(plain_next("XRANGE", "5-0", "5-0"), "[[s[ssssss]]]", "5-0", "f", "ann", "i", "m5", "b",
           body);
    turns_for_large();
    assert_true(heard.count == 2 && heard.ok && !heard.end && heard.entries == 1);
    assert_true(heard.last.ms == 5);
}

static void a_small_message_of_a_thread_comes_with_those_behind(void **state)
{
    struct asked *asked;

    (void)state;
    answer(thread_position_next(), "[is]", 1LL, "5-0");
    turns(2);
    answer(plain_next("XRANGE", "5-0", "5-0"), "[[s[ssssss]]]", "5-0", "f", "ann", "i", "m5", "b",
           "{}");
    turns(2);
    asked = asked_next("EVALSHA", "{bob}:box");
    assert_arg(asked, 7, "8-0");
    assert_arg(asked, 8, "50");
    answer(asked, "[is[s[ssssss]]]", 0LL, "5-0", "5-0", "f", "ann", "i", "m5", "b", "{}");
    turns(2);
    assert_true(heard.count == 2 && heard.ok && heard.end && heard.entries == 1);
}

static void a_message_of_a_thread_that_has_gone_is_passed_over(void **state)
{
    (void)state;
    answer(thread_position_next(), "[is]", 1LL, "5-0");
    turns(2);
    answer(plain_next("XRANGE", "5-0", "5-0"), "[]");
    turns(2);
    assert_true(heard.count == 2 && heard.ok && !heard.end && heard.entries == 0);
    assert_true(heard.last.ms == 5);
}

static void a_thread_ends_where_no_position_is_left(void **state)
{
    (void)state;
    answer(thread_position_next(), "[is]", 0LL, "");
    turns(2);
    assert_true(heard.count == 2 && heard.ok && heard.end && heard.entries == 0);
}

static void an_answer_that_is_no_position_fails_the_page(void **state)
{
    (void)state;
    answer(thread_position_next(), "i", 1LL);
    turns(2);
    assert_true(heard.count == 2 && !heard.ok);
}

/* Whatever happened, the seat of the address is free again. */
static void the_next_page_of_the_address_leaves(void **state)
{
    (void)state;
    answer(read_entry_of_shared_body(), "s", "gone");
    turns(2);
    request_before(7, NULL);
    answer(plain_next("XREVRANGE", "6-18446744073709551615", "-"), "[]");
    turns(2);
    assert_int_equal(heard.count, 3);
}

int main(void)
{
#define PAGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        PAGE_TEST(the_page_behind_a_large_one_is_one_plain_command),
        PAGE_TEST(a_small_message_comes_with_all_that_the_page_has_room_for),
        PAGE_TEST(a_reader_who_asked_for_one_gets_the_small_message_at_once),
        PAGE_TEST(a_large_message_that_had_no_room_is_read_plainly_next),
        PAGE_TEST(a_page_forwards_is_always_a_script_s),
        PAGE_TEST(a_shared_body_is_read_from_its_own_key),
        PAGE_TEST(a_small_shared_body_comes_with_all_that_the_page_has_room_for),
        PAGE_TEST(redis_goes_while_the_script_takes_over),
        PAGE_TEST(a_shared_body_that_is_gone_is_counted),
        PAGE_TEST(a_shared_body_of_another_type_is_gone),
        PAGE_TEST(a_shared_body_that_is_not_to_be_had_fails_the_page),
        PAGE_TEST(a_shared_body_that_is_no_text_is_left_out),
        PAGE_TEST(redis_goes_while_a_shared_body_is_read),
        PAGE_TEST(the_worker_ends_while_a_shared_body_is_read),
        PAGE_TEST(a_foreign_entry_is_passed_over),
        PAGE_TEST(a_log_of_another_type_fails_the_page),
        PAGE_TEST(a_thread_is_read_by_its_positions),
        PAGE_TEST(a_small_message_of_a_thread_comes_with_those_behind),
        PAGE_TEST(a_message_of_a_thread_that_has_gone_is_passed_over),
        PAGE_TEST(a_thread_ends_where_no_position_is_left),
        PAGE_TEST(an_answer_that_is_no_position_fails_the_page),
        PAGE_TEST(the_next_page_of_the_address_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
