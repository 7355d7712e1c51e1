/* Pages on their way to a worker: how many together, in which order, and what becomes of pages that
 * wait. */
#include "office_redis_fixture.h"

#include "worker/mailbox/mailbox_read.h"

enum { PAGES_AT_ONCE = 16, HISTORIES_AT_ONCE = 4 }; /* 1 MiB */

static struct {
    unsigned came[64], failed, count; /* the numbers of the pages, in the order of coming */
} heard;
static unsigned numbers[64];

static void page_came(void *arg, const struct mailbox_page *page)
{
    assert_true(heard.count < 64);
    heard.came[heard.count++] = *(unsigned *)arg;
    heard.failed += !page->ok;
}

static int setup(void **state)
{
    (void)state;
    office_redis_open("");
    lease_answer(NULL, NULL, "0");
    memset(&heard, 0, sizeof heard);
    for (unsigned i = 0; i < 64; i++)
        numbers[i] = i;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    return 0;
}

static void request_page(unsigned number)
{
    char address[16];

    snprintf(address, sizeof address, "box%u", number);
    assert_int_equal(mailbox_read(office.mailbox, slice_of(address), (struct seq){ 7, 0 },
                                  page_came, &numbers[number]),
                     OK);
}

static void request_history(unsigned number, const char *address, struct slice thread)
{
    assert_int_equal(mailbox_history(office.mailbox, slice_of(address), thread,
                                     (struct seq){ 9, 0 }, 50, page_came, &numbers[number]),
                     OK);
}

static unsigned asked_pages(void)
{
    unsigned count = 0;

    for (size_t c = 0; c < server.accepted; c++)
        for (size_t i = 0; i < server.served[c].count; i++) {
            const struct asked *asked = server.served[c].row[i];
            count += !asked->answered && asked_page(asked).len > 0;
        }
    return count;
}

static void end_page(void)
{
    answer(asked_next("XRANGE", ":box"), "[is]", 0LL, "");
    turns(2);
}

static void pages_past_the_bound_wait_for_their_turn(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++)
        request_page(i);
    turns(2);
    assert_int_equal(asked_pages(), PAGES_AT_ONCE);
    assert_int_equal(heard.count, 0);
    end_page();
    assert_int_equal(asked_pages(), PAGES_AT_ONCE);
    for (unsigned i = 1; i < 20; i++)
        end_page();
    assert_int_equal(heard.count, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(heard.came[i], i); /* no page overtakes another */
    assert_int_equal(asked_pages(), 0);
    assert_int_equal(mailbox_take_counts(office.mailbox).pages_waited, 4);
}

/* Redis is one thread, and works on a page while everybody's mail waits. */
static void a_page_ends_by_a_small_number_of_messages_too(void **state)
{
    const struct asked *asked;

    (void)state;
    request_page(0);
    turns(2);
    asked = asked_next("XRANGE", ":box");
    assert_arg(asked, 6, "64");
    assert_arg(asked, 7, "65536");
}

static void a_page_that_waits_keeps_what_it_asks_for(void **state)
{
    const struct asked *asked;
    char thread[] = "t1";

    (void)state;
    for (unsigned i = 0; i < PAGES_AT_ONCE; i++)
        request_page(i);
    request_history(16, "alice", slice_of(thread));
    request_history(17, "bob", (struct slice){ 0 });
    memset(thread, 'x', 2); /* the caller's text is gone */
    turns(2);
    for (unsigned i = 0; i < PAGES_AT_ONCE; i++)
        end_page();
    asked = asked_next("EVALSHA", "{alice}:box");
    assert_arg(asked, 5, "po:{alice}:th");
    assert_arg(asked, 6, "t1");
    assert_arg(asked, 7, "9-0");
    assert_arg(asked, 8, "50");
    assert_arg(asked, 9, "262144");
    asked = asked_next("XREVRANGE", "{bob}:box");
    assert_arg(asked, 5, "8-18446744073709551615");
    assert_arg(asked, 6, "50");
    assert_arg(asked, 7, "262144");
}

static void a_history_weighs_as_much_as_four_pages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++)
        request_history(i, (const char *[]){ "a", "b", "c", "d", "e", "f" }[i],
                        (struct slice){ 0 });
    request_page(6); /* would fit in number, and does not overtake */
    turns(2);
    assert_int_equal(asked_pages(), HISTORIES_AT_ONCE);
    assert_null(asked_find("XRANGE", ":box"));
}

static void read_box(const char *address, unsigned number)
{
    assert_int_equal(mailbox_read(office.mailbox, slice_of(address), (struct seq){ 7, 0 },
                                  page_came, &numbers[number]),
                     OK);
}

/* A reader with many sessions delays the others by one page. */
static void an_address_has_one_page_under_way_and_a_group_has_many(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        read_box("mallory", i);
    request_history(5, "mallory", (struct slice){ 0 });
    read_box("bob", 6);
    read_box("#team", 7);
    read_box("#team", 8);
    turns(2);
    assert_int_equal(asked_pages(), 4); /* one of mallory, one of bob, two of the group */
    for (unsigned i = 0; i < 4; i++)
        end_page(); /* the answers come in the order of the commands */
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(asked_pages(), 1);
        end_page();
        assert_int_equal(heard.came[3 + i], i);
    }
    asked_next("XREVRANGE", "{mallory}:box");
}

/* A page that Redis works on for about eight milliseconds. */
static void end_long_page(const char *key)
{
    struct asked *asked = asked_next("XRANGE", key);

    buf_addf(&asked->answer, "*%d\r\n:1\r\n$3\r\n8-0\r\n", 2 + 1500);
    for (unsigned i = 0; i < 1500; i++)
        answer_add(&asked->answer, "[s[ssssss]]", "8-0", "f", "ann", "i", "m1", "b", "{}");
    asked->answered = true;
    turns(2);
}

static void who_reads_on_and_on_pauses_and_nobody_else_does(void **state)
{
    unsigned number = 0;

    (void)state;
    read_box("mallory", number);
    for (turns(2); asked_find("XRANGE", "{mallory}:box"); turns(2)) {
        end_long_page("{mallory}:box");
        assert_true(++number < 20);
        read_box("mallory", number);
    }
    assert_true(number > 1); /* the first page makes no pause */
    assert_int_equal(heard.count, number);
    read_box("bob", 61);
    read_box("#team", 62);
    turns(2);
    assert_int_equal(asked_pages(), 2);
    end_page();
    end_page();
    assert_in_range(mailbox_wait_ms(office.mailbox), 1, 1000);
    clock_ms += mailbox_wait_ms(office.mailbox) - 1;
    turns(2);
    assert_int_equal(asked_pages(), 0);
    clock_ms += 1;
    turns(2);
    asked_next("XRANGE", "{mallory}:box");
    assert_int_equal(mailbox_wait_ms(office.mailbox), 0);
}

/* The request finds a page that waits and may leave, before the turn has found the page. */
static void a_request_at_the_end_of_a_pause_holds_nobody_up(void **state)
{
    unsigned number = 0;

    (void)state;
    read_box("mallory", number);
    for (turns(2); asked_find("XRANGE", "{mallory}:box"); turns(2)) {
        end_long_page("{mallory}:box");
        read_box("mallory", ++number);
    }
    clock_ms += mailbox_wait_ms(office.mailbox);
    read_box("bob", 61);
    turns(2);
    asked_next("XRANGE", "{mallory}:box");
    asked_next("XRANGE", "{bob}:box");
}

static void pages_that_wait_fail_when_redis_goes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++)
        request_page(i);
    turns(2);
    redis_goes();
    turns(2);
    assert_int_equal(heard.count, 20);
    assert_int_equal(heard.failed, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(heard.came[i], i);
}

static void pages_that_wait_fail_when_the_worker_ends(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++)
        request_page(i);
    turns(1);
    office.closed = true;
    mailbox_free(office.mailbox);
    office.mailbox = NULL;
    assert_int_equal(heard.count, 20);
    assert_int_equal(heard.failed, 20);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(pages_past_the_bound_wait_for_their_turn),
        T(a_page_ends_by_a_small_number_of_messages_too),
        T(a_page_that_waits_keeps_what_it_asks_for),
        T(a_history_weighs_as_much_as_four_pages),
        T(pages_that_wait_fail_when_redis_goes),
        T(pages_that_wait_fail_when_the_worker_ends),
        T(an_address_has_one_page_under_way_and_a_group_has_many),
        T(who_reads_on_and_on_pauses_and_nobody_else_does),
        T(a_request_at_the_end_of_a_pause_holds_nobody_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
