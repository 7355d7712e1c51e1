/* The command `recall`: the questions to Redis, their order, and the result for the sender. */
#include "office_redis_fixture.h"

static struct client alice;
static bool had_redis; /* of this test */

static int setup(void **state)
{
    (void)state;
    had_redis = true;
    office_redis_open("\"limits\":{\"errorsPerMinute\":3}");
    lease_answer(NULL, NULL, "0");
    client_enter_stored(&alice, "alice", "APP", 1);
    return 0;
}

static int setup_without(void **state)
{
    (void)state;
    had_redis = false;
    office_open("");
    client_enter(&alice, "alice", "APP");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (had_redis)
        office_redis_close();
    else
        office_close();
    peer_close(&alice.peer);
    return 0;
}

#define RECALL "\"from\":\"alice\",\"to\":[\"postmaster\"],\"type\":4,\"subject\":\"recall\""

static void recall(void)
{
    say(&alice, "{" RECALL ",\"id\":\"c1\",\"inReplyTo\":\"m1\"}");
}

static void log_answer(const char *recipients)
{
    answer(asked_next("EVALSHA", "{alice}:sent"), "[is]", 1LL, recipients);
    turns(2);
}

/* The mailbox whose key ends so answers with the outcome of the recall. */
static void box_answer(const char *key_ending, long long outcome)
{
    answer(asked_next("EVALSHA", key_ending), "[i]", outcome);
    turns(2);
}

static const char *hear_rejected(const char *code)
{
    char part[64];

    snprintf(part, sizeof part, "\"code\":\"%s\"", code);
    assert_has(hear_subject(&alice, "rejected"), part);
    return alice.said;
}

/* ---- what is refused at once ---- */

static void a_recall_names_the_message(void **state)
{
    (void)state;
    say(&alice, "{" RECALL "}");
    assert_has(hear_rejected("missing-field"), "\"field\":\"inReplyTo\"");
    assert_int_equal(asked_count(), 0);
}

static void an_id_that_no_message_can_have_is_not_found(void **state)
{
    (void)state;
    say(&alice, "{" RECALL ",\"inReplyTo\":\"\"}");
    hear_rejected("not-found");
    say(&alice, "{" RECALL ",\"inReplyTo\":\"a b\"}");
    hear_rejected("not-found");
    assert_int_equal(asked_count(), 0);
}

static void while_redis_is_away_nothing_can_be_recalled(void **state)
{
    (void)state;
    redis_goes();
    recall();
    assert_has(hear_rejected("storage-unavailable"), "Redis is away");
}

static void without_redis_nothing_is_stored_that_could_be_recalled(void **state)
{
    (void)state;
    recall();
    hear_rejected("storage-unavailable");
}

/* ---- the sender's log ---- */

static void the_senders_log_says_to_whom_it_went(void **state)
{
    const struct asked *asked;

    (void)state;
    recall();
    asked = asked_next("EVALSHA", "po:{alice}:sent");
    assert_arg(asked, 4, "m1");
    assert_arg(asked, 5, "+");
    assert_arg(asked, 6, "32");
    log_answer("bob\ncarol");
    asked = asked_next("EVALSHA", "{bob}:box");
    assert_arg(asked, 4, "po:{bob}:ids");
    assert_arg(asked, 5, "alice");
    assert_arg(asked, 6, "m1");
    assert_arg(asked, 7, "bob");
    asked_next("EVALSHA", "{carol}:box");
    asked_next("EVALSHA", "{alice}:box"); /* the copies for the sender's other devices */
}

static void what_was_sent_a_moment_ago_is_in_the_log_before_it_is_looked_at(void **state)
{
    (void)state;
    sent_note(alice.session, SLICE("alice"), SLICE("m1"), &SLICE("bob"), 1);
    recall();
    answer(asked_next("XADD", "{alice}:sent"), "s", "5-0");
    answer(asked_next("EXPIRE", "{alice}:sent"), "i", 1LL);
    log_answer("bob"); /* came behind them, on the same connection */
    asked_next("EVALSHA", "{bob}:box");
}

static void the_log_is_looked_through_a_bounded_part_at_a_time(void **state)
{
    (void)state;
    recall();
    answer(asked_next("EVALSHA", "{alice}:sent"), "[isii]", 0LL, "1790-7", 32LL, 4000LL);
    turns(2);
    assert_arg(asked_next("EVALSHA", "{alice}:sent"), 5, "1790-6"); /* from before it on back */
    log_answer("bob");
    asked_next("EVALSHA", "{bob}:box");
}

static void what_is_not_in_the_log_is_not_found_and_an_error_of_the_session(void **state)
{
    (void)state;
    recall();
    answer(asked_next("EVALSHA", "{alice}:sent"), "[i]", 0LL);
    turns(2);
    assert_has(hear_rejected("not-found"), "\"field\":\"inReplyTo\"");
    assert_has(alice.said, "\"inReplyTo\":\"c1\"");
    assert_int_equal(counted(STAT_rejected_not_found), 1);
    assert_int_equal(alice.session->errors, 1);
}

static void a_log_that_cannot_be_read_is_tried_again_later(void **state)
{
    (void)state;
    recall();
    answer(asked_next("EVALSHA", "{alice}:sent"), "-", "WRONGTYPE Operation against a key");
    turns(2);
    assert_has(hear_rejected("storage-unavailable"), "\"retryAfter\":1000");
    assert_int_equal(alice.session->errors, 0); /* it is not the client's */
    recall();
    redis_goes();
    turns(1);
    hear_rejected("storage-unavailable");
}

/* ---- the mailboxes ---- */

static void the_result_says_of_each_recipient_what_became_of_it(void **state)
{
    (void)state;
    recall();
    log_answer("bob\ncarol\ndave");
    box_answer("{bob}:box", 1);
    box_answer("{carol}:box", 2);
    box_answer("{dave}:box", 0);
    expect_nothing(&alice.peer); /* not before all are known */
    box_answer("{alice}:box", 0);
    turns(1);
    assert_has(hear_subject(&alice, "result"), "\"inReplyTo\":\"c1\"");
    assert_has(alice.said, "\"recalled\":[\"bob\"]");
    assert_has(alice.said, "\"notRecalled\":[{\"address\":\"carol\",\"code\":\"delivered\"},"
                           "{\"address\":\"dave\",\"code\":\"not-found\"}]");
    assert_int_equal(counted(STAT_mail_recalled), 1);
}

static void a_command_without_an_id_has_a_result_without_one(void **state)
{
    (void)state;
    say(&alice, "{" RECALL ",\"inReplyTo\":\"m1\"}");
    log_answer("bob");
    box_answer("{bob}:box", 1);
    box_answer("{alice}:box", 0);
    turns(1);
    assert_lacks(hear_subject(&alice, "result"), "inReplyTo");
}

static void a_mailbox_that_did_not_answer_is_named(void **state)
{
    (void)state;
    recall();
    log_answer("bob\ncarol");
    answer(asked_next("EVALSHA", "{bob}:box"), "-", "OOM");
    answer(asked_next("EVALSHA", "{carol}:box"), "[i]", 7LL); /* no outcome of ours */
    turns(2);
    redis_goes(); /* and that of the sender is never answered */
    turns(1);
    assert_has(hear_subject(&alice, "result"), "\"recalled\":[]");
    assert_has(alice.said, "{\"address\":\"bob\",\"code\":\"storage-unavailable\"},"
                           "{\"address\":\"carol\",\"code\":\"storage-unavailable\"}");
}

static void mailboxes_are_asked_a_few_at_a_time(void **state)
{
    struct buf lines;
    unsigned answered = 0;

    (void)state;
    buf_init(&lines, 4096);
    for (unsigned i = 0; i < 40; i++)
        buf_addf(&lines, "%suser-%u", i ? "\n" : "", i);
    recall();
    log_answer(buf_text(&lines));
    assert_int_equal(asked_count(), 16);
    for (; asked_find("EVALSHA", ":box"); answered++) {
        answer(asked_next("EVALSHA", ":box"), "[i]", 1LL);
        turns(2);
        assert_true(asked_count() <= 16);
    }
    assert_int_equal(answered, 41); /* the sender's own, too */
    turns(1);
    hear_subject(&alice, "result");
    assert_int_equal(counted(STAT_mail_recalled), 41);
    buf_fini(&lines);
}

static void a_receipt_that_the_recall_causes_is_sent(void **state)
{
    (void)state;
    recall();
    log_answer("bob");
    answer(asked_next("EVALSHA", "{bob}:box"), "[iss]", 1LL,
           "4\nbob\nalice\nm1\nr-1\n1790000000\n0", "");
    turns(2);
    assert_arg(asked_next("EVALSHA", "po:{bob}:box"), 3, "po:{bob}:box");
    assert_true(asked_next("EVALSHA", "po:{bob}:box")->count > 8); /* an append */
}

static void who_asked_may_be_gone_by_the_answer(void **state)
{
    (void)state;
    recall();
    log_answer("bob");
    peer_close(&alice.peer);
    turns(2);
    assert_false(client_is_there(&alice));
    box_answer("{bob}:box", 1);
    answer(asked_next("EVALSHA", "{alice}:box"), "[i]", 0LL);
    turns(3);
    assert_int_equal(counted(STAT_mail_recalled), 1); /* it went on all the same */
}

static void who_asked_may_be_gone_by_the_logs_answer_too(void **state)
{
    (void)state;
    recall();
    peer_close(&alice.peer);
    turns(2);
    answer(asked_next("EVALSHA", "{alice}:sent"), "[i]", 0LL);
    turns(2);
    assert_int_equal(counted(STAT_rejected_not_found), 1);
}

static void an_empty_log_entry_is_a_recall_of_nothing(void **state)
{
    (void)state;
    recall();
    log_answer("");
    box_answer("{alice}:box", 0);
    turns(1);
    assert_has(hear_subject(&alice, "result"), "\"recalled\":[],\"notRecalled\":[]");
}

static void one_recall_of_a_session_is_under_way(void **state)
{
    (void)state;
    recall();
    recall();
    assert_int_equal(asked_count(), 1);
    answer(asked_next("EVALSHA", "{alice}:sent"), "[isii]", 0LL, "", 2LL, 20LL);
    turns(2);
    hear_rejected("not-found");
    assert_int_equal(asked_count(), 1);
}

static void the_search_ends_by_entries_and_by_bytes(void **state)
{
    (void)state;
    office.config->limits.recall_entries = 64;
    recall();
    for (unsigned i = 0; i < 2; i++) {
        assert_arg(asked_next("EVALSHA", "{alice}:sent"), 7, "262144");
        answer(asked_next("EVALSHA", "{alice}:sent"), "[isii]", 0LL, "9-0", 32LL, 900LL);
        turns(2);
    }
    assert_has(hear_rejected("not-found"), "among the latest");
    recall();
    answer(asked_next("EVALSHA", "{alice}:sent"), "[isii]", 0LL, "9-0", 1LL, 17LL << 20);
    turns(2);
    assert_has(hear_rejected("not-found"), "among the latest");
    assert_int_equal(asked_count(), 0);
}

static void a_worker_that_ends_leaves_no_recall_behind(void **state)
{
    (void)state;
    recall();
    log_answer("bob\ncarol");
    recall(); /* one waits for mailboxes, one for the log; teardown ends both */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_recall_names_the_message),
        T(an_id_that_no_message_can_have_is_not_found),
        T(while_redis_is_away_nothing_can_be_recalled),
        cmocka_unit_test_setup_teardown(without_redis_nothing_is_stored_that_could_be_recalled,
                                        setup_without, teardown),
        T(the_senders_log_says_to_whom_it_went),
        T(what_was_sent_a_moment_ago_is_in_the_log_before_it_is_looked_at),
        T(the_log_is_looked_through_a_bounded_part_at_a_time),
        T(what_is_not_in_the_log_is_not_found_and_an_error_of_the_session),
        T(a_log_that_cannot_be_read_is_tried_again_later),
        T(the_result_says_of_each_recipient_what_became_of_it),
        T(a_command_without_an_id_has_a_result_without_one),
        T(a_mailbox_that_did_not_answer_is_named),
        T(mailboxes_are_asked_a_few_at_a_time),
        T(a_receipt_that_the_recall_causes_is_sent),
        T(who_asked_may_be_gone_by_the_answer),
        T(who_asked_may_be_gone_by_the_logs_answer_too),
        T(an_empty_log_entry_is_a_recall_of_nothing),
        T(one_recall_of_a_session_is_under_way),
        T(the_search_ends_by_entries_and_by_bytes),
        T(a_worker_that_ends_leaves_no_recall_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
