/* Commands that Redis is asked for: one of a session under way, the others in a bounded row. */
#include "office_redis_fixture.h"

static struct client alice;

/* The session, which must be there: without memory it may have ended. */
static struct session *here(void)
{
    assert_true(client_is_there(&alice));
    return alice.session;
}

static int setup(void **state)
{
    (void)state;
    office_redis_open("\"limits\":{\"commandsWaiting\":8,\"queueBytes\":1048576}");
    lease_answer(NULL, NULL, "0");
    client_enter_stored(&alice, "alice", "APP", 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    peer_close(&alice.peer);
    return 0;
}

#define COMMAND(verb)                                                                              \
    "{\"from\":\"alice\",\"to\":[\"postmaster\"],\"type\":4,\"subject\":\"" verb "\""

static void say_history(unsigned number)
{
    say(&alice, COMMAND("history") ",\"id\":\"h%u\"}", number);
}

/* Answers the `history` under way with one message of this size. */
static void history_answer(size_t size)
{
    struct asked *asked = asked_next("XREVRANGE", "{alice}:box");
    char *body = malloc(size + 1);

    memset(body, ' ', size);
    body[0] = '{';
    body[size - 1] = '}';
    body[size] = 0;
    answer(asked, "[is[s[ssssss]]]", 1LL, "5-0", "5-0", "f", "bob", "i", "m1", "b", body);
    free(body);
    turns(8); /* a large answer is read by pieces */
}

static void hear_answer_to(const char *subject, unsigned number)
{
    char part[32];

    snprintf(part, sizeof part, "\"inReplyTo\":\"h%u\"", number);
    assert_has(hear_subject(&alice, subject), part);
}

static void one_history_is_under_way_and_the_next_waits_its_turn(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        say_history(i);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(asked_count(), 1);
        history_answer(10);
        hear_answer_to("result", i);
        assert_has(alice.said, "\"more\":true,\"references\":\"5-0\"");
    }
    assert_int_equal(asked_count(), 0);
    assert_null(here()->errands); /* an idle session keeps nothing */
    assert_int_equal(counted(STAT_commands_waited), 2);
}

static void past_the_bound_a_command_is_rate_limited(void **state)
{
    (void)state;
    office.config->limits.queue_bytes = 64 << 20; /* so that all of them are read */
    for (unsigned i = 0; i < 10; i++)
        say_history(i);
    hear_answer_to("rejected", 9);
    assert_has(alice.said, "\"code\":\"rate-limited\"");
    assert_has(alice.said, "\"retryAfter\":1000");
    for (unsigned i = 0; i < 9; i++) {
        history_answer(10);
        hear_answer_to("result", i);
    }
    assert_int_equal(here()->errors, 0); /* no error of the session */
}

static void reading_stops_before_the_answers_pass_the_queue(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        say_history(i);
    assert_false(here()->conn.held); /* 1 MiB is expected */
    say_history(4);
    assert_true(here()->conn.held);
    for (unsigned i = 0; i < 2; i++)
        history_answer(10);
    assert_false(here()->conn.held);
    for (unsigned i = 2; i < 5; i++)
        history_answer(10);
    assert_false(here()->conn.held);
}

static void a_session_that_is_stalled_stays_so_when_its_commands_are_done(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        say_history(i);
    here()->stalled = true;
    history_answer(10);
    assert_true(here()->conn.held);
    here()->stalled = false;
    here()->errands_held = true;
    session_hold_for_errands(here(), false);
    assert_false(here()->conn.held);
}

static void nothing_is_asked_for_while_the_session_does_not_read(void **state)
{
    (void)state;
    office.config->limits.queue_bytes = 64 << 20;
    office.config->limits.commands_waiting = 64;
    for (unsigned i = 0; i < 20; i++)
        say_history(i);
    for (unsigned i = 0; i < 19 && asked_count(); i++)
        history_answer(60000); /* a few are more than the socket holds */
    assert_int_equal(asked_count(), 0);
    assert_true(conn_waiting(&here()->conn) > 64 * 1024);
    assert_non_null(here()->errands);
}

static void what_waits_goes_with_the_session(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        say_history(i);
    say(&alice, COMMAND("presence") ",\"tags\":[\"bob\"]}");
    say(&alice, COMMAND("recall") ",\"inReplyTo\":\"m1\"}");
    peer_close(&alice.peer);
    turns(2);
    assert_false(client_is_there(&alice));
    history_answer(10); /* and the answer to the first hurts nobody */
    assert_null(asked_find("XREVRANGE", ":box"));
    assert_null(asked_find("EVALSHA", ":sent"));
}

static void when_redis_goes_each_is_answered(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        say_history(i);
    redis_goes();
    turns(3);
    hear_answer_to("result", 0);
    assert_has(alice.said, "\"code\":\"storage-unavailable\"");
    hear_answer_to("rejected", 1);
    assert_has(alice.said, "\"code\":\"storage-unavailable\"");
    hear_answer_to("rejected", 2);
    assert_null(here()->errands);
}

static void other_commands_pass_those_that_wait(void **state)
{
    (void)state;
    say_history(0);
    say(&alice, COMMAND("ack") ",\"references\":\"1-0\",\"id\":\"h7\"}");
    hear_answer_to("result", 7);
    history_answer(10);
    hear_answer_to("result", 0);
}

/* ---- subscribe ---- */

static const char *const some_groups[] = { "#*", NULL };

static void may_read_groups(void)
{
    office_trust_key(false);
    grant_unref(here()->grant);
    here()->grant =
        grant_of((struct token_request){ .sub = "alice", .ttl_s = 60, .groups = some_groups });
}

/* The log of the group is empty, and the device has no cursor in the group. */
static void join_answer(const char *key_ending)
{
    answer(asked_next("EVALSHA", key_ending), "[isss]", 0LL, "", "5-0", "0-0");
    turns(2);
}

static void one_subscribe_is_under_way_and_the_next_waits_its_turn(void **state)
{
    (void)state;
    may_read_groups();
    say(&alice, COMMAND("subscribe") ",\"tags\":[\"#a\",\"#b\"],\"id\":\"h0\"}");
    say(&alice, COMMAND("subscribe") ",\"tags\":[\"#c\"],\"id\":\"h1\"}");
    say_history(2);
    assert_int_equal(asked_count(), 2);
    join_answer("{#a}:box");
    assert_int_equal(asked_count(), 1);
    join_answer("{#b}:box");
    hear_answer_to("result", 0);
    assert_has(alice.said, "\"groups\":{\"#a\":{\"seq\":\"5-0\"");
    assert_has(alice.said, "},\"#b\":{");
    hear_subject(&alice, "replayed");
    hear_subject(&alice, "replayed");
    join_answer("{#c}:box");
    hear_answer_to("result", 1);
    hear_subject(&alice, "replayed");
    history_answer(10);
    hear_answer_to("result", 2);
    assert_null(here()->errands);
    assert_int_equal(counted(STAT_commands_waited), 2);
}

static void an_unsubscribe_passes_a_subscribe_that_waits_and_ends_it(void **state)
{
    (void)state;
    may_read_groups();
    say_history(0);
    say(&alice, COMMAND("subscribe") ",\"tags\":[\"#a\",\"#b\"],\"id\":\"h1\"}");
    say(&alice, COMMAND("unsubscribe") ",\"tags\":[\"#a\"],\"id\":\"h2\"}");
    hear_answer_to("result", 2);
    history_answer(10);
    answer(asked_next("HDEL", "{#a}:at"), "i", 0LL);
    turns(2);
    hear_answer_to("result", 0);
    assert_null(asked_find("EVALSHA", "{#a}:box"));
    join_answer("{#b}:box");
    hear_answer_to("result", 1);
    assert_has(alice.said, "\"groups\":{\"#b\":{");
    assert_lacks(alice.said, "#a");
    hear_subject(&alice, "replayed");
    assert_int_equal(asked_count(), 0);
}

static void a_subscribe_that_finds_no_place_leaves_no_subscription(void **state)
{
    (void)state;
    may_read_groups();
    office.config->limits.queue_bytes = 64 << 20;
    for (unsigned i = 0; i < 9; i++)
        say_history(i);
    say(&alice, COMMAND("subscribe") ",\"tags\":[\"#a\"],\"id\":\"h9\"}");
    hear_answer_to("rejected", 9);
    assert_has(alice.said, "\"code\":\"rate-limited\"");
    assert_null(here()->subscriptions);
}

static void a_subscribe_that_waits_while_redis_goes_leaves_no_subscription(void **state)
{
    (void)state;
    may_read_groups();
    say_history(0);
    say(&alice, COMMAND("subscribe") ",\"tags\":[\"#a\",\"#b\"],\"id\":\"h1\"}");
    assert_non_null(here()->subscriptions);
    redis_goes();
    turns(3);
    hear_answer_to("result", 0);
    hear_answer_to("rejected", 1);
    assert_has(alice.said, "\"code\":\"storage-unavailable\"");
    assert_null(here()->subscriptions);
    assert_null(here()->errands);
}

static void a_subscribe_that_waits_goes_with_the_session(void **state)
{
    (void)state;
    may_read_groups();
    say_history(0);
    say(&alice, COMMAND("subscribe") ",\"tags\":[\"#a\"],\"id\":\"h1\"}");
    peer_close(&alice.peer);
    turns(2);
    assert_false(client_is_there(&alice));
    history_answer(10);
    assert_null(asked_find("EVALSHA", "{#a}:box"));
}

/* ---- presence ---- */

static unsigned nobody_answers(void)
{
    struct asked *asked;
    unsigned count = 0;

    for (; (asked = asked_find("HGETALL", ":at")); count++)
        answer(asked, "[]");
    turns(4);
    return count;
}

static void presence_asks_other_hosts_about_a_page_of_addresses_at_a_time(void **state)
{
    char tags[4096] = "";

    (void)state;
    pass_ms(1000); /* the next renewal of the lease finds a worker of another host */
    nodes_beat(office.nodes);
    turns(2);
    lease_answer("far:0:1", NULL, "0");
    for (unsigned i = 0; i < 150; i++)
        snprintf(tags + strlen(tags), sizeof tags - strlen(tags), "%s\"u%u\"", i ? "," : "", i);
    say(&alice, COMMAND("presence") ",\"tags\":[%s],\"id\":\"h0\"}", tags);
    turns(2);
    lease_answer("far:0:1", NULL, "0");
    assert_int_equal(nobody_answers(), 64);
    assert_int_equal(nobody_answers(), 64);
    assert_int_equal(nobody_answers(), 22);
    hear_answer_to("result", 0);
    assert_has(alice.said, "\"u0\":[],\"u1\":[]");
    assert_has(alice.said, "\"u148\":[],\"u149\":[]}");
    assert_null(here()->errands);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(one_history_is_under_way_and_the_next_waits_its_turn),
        T(past_the_bound_a_command_is_rate_limited),
        T(reading_stops_before_the_answers_pass_the_queue),
        T(a_session_that_is_stalled_stays_so_when_its_commands_are_done),
        T(nothing_is_asked_for_while_the_session_does_not_read),
        T(what_waits_goes_with_the_session),
        T(when_redis_goes_each_is_answered),
        T(other_commands_pass_those_that_wait),
        T(one_subscribe_is_under_way_and_the_next_waits_its_turn),
        T(an_unsubscribe_passes_a_subscribe_that_waits_and_ends_it),
        T(a_subscribe_that_finds_no_place_leaves_no_subscription),
        T(a_subscribe_that_waits_while_redis_goes_leaves_no_subscription),
        T(a_subscribe_that_waits_goes_with_the_session),
        T(presence_asks_other_hosts_about_a_page_of_addresses_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
