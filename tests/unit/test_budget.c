/* The budget of a sender's address: a bucket on the worker, which fills with time and may be in
 * debt, and the shared bucket in Redis, which the worker charges now and then. */
#include "office_redis_fixture.h"

#include "worker/delivery/budget.h"

static struct client alice, tab, bob;

enum { LETTER_COST = 256 }; /* what each recipient costs besides the body */

static void open_office(const char *limits)
{
    office_redis_open(limits);
    lease_answer(NULL, NULL, "0");
    client_enter_stored(&alice, "alice", "APP", 1);
}

/* 100 bytes a second: a fraction of a byte a millisecond. */
static int setup(void **state)
{
    (void)state;
    open_office("\"limits\":{\"storedBytesPerSecond\":100,\"storedBytesBurst\":65536,"
                "\"newMailboxesPerMinute\":60}");
    return 0;
}

static int setup_large(void **state)
{
    (void)state;
    open_office("");
    return 0;
}

static int setup_unlimited(void **state)
{
    (void)state;
    open_office("\"limits\":{\"storedBytesPerSecond\":0,\"newMailboxesPerMinute\":0}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    budget_free(&office);
    peer_close(&alice.peer);
    return 0;
}

/* Stores `bytes` in all for one recipient. Returns the milliseconds to wait instead. */
static uint32_t store(struct client *client, uint64_t bytes)
{
    struct budget *budget;
    uint32_t wait_ms = budget_take(client->session, bytes - LETTER_COST, 1, &budget);

    if (wait_ms)
        assert_null(budget);
    else
        assert_non_null(budget);
    budget_release(budget);
    turns(1);
    return wait_ms;
}

static void begin_mailboxes(unsigned count)
{
    struct budget *budget;

    assert_int_equal(budget_take(alice.session, 0, 1, &budget), 0);
    for (unsigned i = 0; i < count; i++)
        budget_note_mailbox(budget);
    budget_release(budget);
    turns(1);
}

/* The question that charges the shared bucket. */
static struct asked *charge_of(const char *bytes, const char *boxes)
{
    struct asked *asked = asked_next("EVALSHA", "po:{alice}:spent");

    assert_arg(asked, 4, bytes);
    assert_arg(asked, 5, boxes);
    return asked;
}

static bool is_charged(void)
{
    return asked_find("EVALSHA", ":spent") != NULL;
}

/* The shared bucket has what the worker's own has: other workers stored nothing. */
static void answer_charge(const char *bytes, const char *boxes, long long bytes_left,
                          long long boxes_left)
{
    answer(charge_of(bytes, boxes), "[ii]", bytes_left, boxes_left);
    turns(2);
}

static void a_message_is_taken_while_anything_is_left_and_leaves_a_debt(void **state)
{
    (void)state;
    assert_int_equal(store(&alice, 65535), 0);
    answer_charge("65535", "0", 1, 60);
    assert_int_equal(store(&alice, 2001), 0);
    /* 2,000 bytes of debt and the one byte above it are 20.01 seconds. */
    assert_int_equal(store(&alice, 1000), 20011);
    assert_int_equal(counted(STAT_over_budget), 1);
    pass_ms(20000);
    assert_int_not_equal(store(&alice, 1000), 0);
    pass_ms(20);
    assert_int_equal(store(&alice, 1000), 0);
}

static void a_message_above_the_whole_bucket_is_taken_when_the_bucket_is_full(void **state)
{
    (void)state;
    assert_int_equal(store(&alice, 10 * 65536), 0);
    answer_charge("655360", "0", -589824, 60);
    /* A client is never told to wait longer than a minute: what is left of the debt is said then.
     */
    assert_int_equal(store(&alice, 1000), 60000);
}

static void a_slow_rate_fills_the_bucket_however_often_it_is_looked_at(void **state)
{
    unsigned refused = 0;

    (void)state;
    assert_int_equal(store(&alice, 65536), 0);
    answer_charge("65536", "0", -99, 60);
    /* A second fills 100 bytes: a client that tries again every 5 ms waits no longer than that. */
    while (store(&alice, 1000) && refused < 1000) {
        struct asked *asked = asked_find("EVALSHA", ":spent");
        refused++;
        if (asked) { /* an empty bucket asks Redis now and then; no answer comes */
            answer(asked, "-", "ERR away");
            turns(2);
        }
        pass_ms(5);
    }
    assert_in_range(refused, 199, 202);
}

static void all_sessions_of_an_address_have_one_bucket_and_addresses_do_not(void **state)
{
    (void)state;
    client_enter_stored(&tab, "alice", "TAB", 2);
    client_enter_stored(&bob, "bob", "APP", 3);
    assert_int_equal(store(&alice, 70000), 0);
    answer_charge("70000", "0", -4464, 60);
    assert_int_not_equal(store(&tab, 1000), 0);
    assert_int_equal(store(&bob, 4000), 0);
    /* The bucket outlives the session. */
    client_leave(&alice);
    client_leave(&tab);
    answer(asked_next("HDEL", "po:{alice}:at"), "i", 1LL);
    answer(asked_next("HDEL", "po:{alice}:at"), "i", 1LL);
    budget_beat(&office);
    client_enter_stored(&alice, "alice", "APP", 4);
    assert_int_not_equal(store(&alice, 1000), 0);
    peer_close(&bob.peer);
}

static void a_bucket_is_forgotten_when_it_is_full_again_and_not_before(void **state)
{
    (void)state;
    assert_int_equal(store(&alice, 65536 + 10000), 0);
    answer_charge("75536", "0", -10000, 60);
    pass_ms(90000);
    for (unsigned i = 0; i < 64; i++)
        budget_beat(&office); /* still in debt by 1,000 */
    assert_int_not_equal(store(&alice, 1000), 0);
    pass_ms(10010);
    assert_int_equal(store(&alice, 1000), 0);
    for (unsigned i = 0; i < 10; i++) { /* 700 s fill it */
        pass_ms(70000);
        for (unsigned j = 0; j < 64; j++)
            budget_beat(&office);
    }
    assert_int_equal(store(&alice, 65536), 0);
}

static void the_shared_bucket_is_charged_with_a_part_of_it_not_with_each_message(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(store(&alice, 1000), 0);
        assert_false(is_charged());
    }
    assert_int_equal(store(&alice, 1000), 0); /* past a sixteenth */
    /* Bytes that are stored while Redis has not answered are charged with the next question. */
    assert_int_equal(store(&alice, 5000), 0);
    answer_charge("5000", "0", 60536, 60);
    answer_charge("5000", "0", 55536, 60);
    assert_false(is_charged());
}

static void a_large_bucket_is_charged_with_each_mebibyte(void **state)
{
    (void)state;
    assert_int_equal(store(&alice, (1 << 20) - 1), 0);
    assert_false(is_charged());
    assert_int_equal(store(&alice, LETTER_COST), 0);
    answer_charge("1048831", "0", (64 << 20) - 1048831, 5000);
}

static void what_other_workers_stored_counts_once_redis_has_said_so(void **state)
{
    (void)state;
    assert_int_equal(store(&alice, 5000), 0);
    assert_int_equal(store(&alice, 1000), 0); /* on its way here while Redis answers */
    answer_charge("5000", "0", 1000, 60);
    assert_int_not_equal(store(&alice, 1000), 0);
}

static void a_question_that_redis_refuses_charges_nothing_more(void **state)
{
    (void)state;
    assert_int_equal(store(&alice, 5000), 0);
    answer(charge_of("5000", "0"), "-", "ERR out of order");
    turns(2);
    assert_int_equal(store(&alice, 60000), 0); /* the worker's own bucket still has that */
    answer(charge_of("60000", "0"), "-", "ERR out of order");
    turns(2);
    assert_int_equal(store(&alice, 1000), 0);
    assert_int_not_equal(store(&alice, 1000), 0);
}

static void an_empty_bucket_asks_once_a_second_whether_it_was_filled(void **state)
{
    (void)state;
    assert_int_equal(store(&alice, 70000), 0);
    answer_charge("70000", "0", -4464, 60);
    assert_int_not_equal(store(&alice, 1000), 0);
    assert_false(is_charged());
    pass_ms(1000);
    assert_int_not_equal(store(&alice, 1000), 0);
    answer_charge("0", "0", 65536, 60); /* an operator has removed the key, say */
    assert_int_equal(store(&alice, 1000), 0);
}

static void new_mailboxes_have_a_bucket_of_their_own(void **state)
{
    (void)state;
    begin_mailboxes(61);
    answer_charge("256", "61", 65280, -1);
    /* 60 a minute: two of them until one is left. */
    assert_int_equal(store(&alice, 1000), 2001);
    pass_ms(2001);
    assert_int_equal(store(&alice, 1000), 0);
}

static void without_limits_nothing_is_counted(void **state)
{
    struct budget *budget;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(budget_take(alice.session, 1 << 30, 1000, &budget), 0);
        assert_null(budget);
        budget_note_mailbox(budget);
        budget_release(budget);
    }
    turns(1);
    assert_false(is_charged());
}

/* A ticket may outlive the office. */
static void a_hold_may_be_released_when_the_office_is_gone(void **state)
{
    struct budget *budget;

    (void)state;
    assert_int_equal(budget_take(alice.session, 1000, 1, &budget), 0);
    budget_free(&office);
    budget_note_mailbox(budget);
    budget_release(budget);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_message_is_taken_while_anything_is_left_and_leaves_a_debt),
        T(a_message_above_the_whole_bucket_is_taken_when_the_bucket_is_full),
        T(a_slow_rate_fills_the_bucket_however_often_it_is_looked_at),
        T(all_sessions_of_an_address_have_one_bucket_and_addresses_do_not),
        T(a_bucket_is_forgotten_when_it_is_full_again_and_not_before),
        T(the_shared_bucket_is_charged_with_a_part_of_it_not_with_each_message),
        cmocka_unit_test_setup_teardown(a_large_bucket_is_charged_with_each_mebibyte, setup_large,
                                        teardown),
        T(what_other_workers_stored_counts_once_redis_has_said_so),
        T(a_question_that_redis_refuses_charges_nothing_more),
        T(an_empty_bucket_asks_once_a_second_whether_it_was_filled),
        T(new_mailboxes_have_a_bucket_of_their_own),
        cmocka_unit_test_setup_teardown(without_limits_nothing_is_counted, setup_unlimited,
                                        teardown),
        T(a_hold_may_be_released_when_the_office_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
