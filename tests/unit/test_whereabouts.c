/* A session's entry in the `:at` of its address: made, kept true, taken out; also when Redis is
 * away meanwhile. */
#include "office_redis_fixture.h"

static struct client alice;

static int setup(void **state)
{
    (void)state;
    office_redis_open("");
    lease_answer(NULL, NULL, "0");
    return 0;
}

static struct client others[10];

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    for (int i = 0; i < 10; i++)
        if (others[i].peer.fd > 0)
            peer_close(&others[i].peer);
    memset(others, 0, sizeof others);
    if (alice.peer.fd > 0)
        peer_close(&alice.peer);
    memset(&alice, 0, sizeof alice);
    return 0;
}

static const char *field_of(uint64_t number)
{
    static char field[PLACE_MAX + 20];

    snprintf(field, sizeof field, "%s/%llx", own_place, (unsigned long long)number);
    return field;
}

/* Since when the shared table says that the session of alice is there; 0: it is not. */
static uint64_t published_since(void)
{
    struct session_row places[4];
    size_t count =
        sessions_find(office.region, sessions_key(office.region, SLICE("alice")), places, 4);

    assert_true(count <= 1);
    return count ? places[0].since_ns : 0;
}

static void leave(void)
{
    peer_close(&alice.peer);
    turns(2);
}

/* ---- one opening at a time ---- */

static void an_address_has_one_opening_under_way(void **state)
{
    const struct asked *asked;

    (void)state;
    client_open(&alice, "alice", "A");
    client_open(&others[0], "alice", "B");
    client_open(&others[1], "bob", "A");
    client_open(&others[2], "alice", "C");
    turns(2);
    asked = asked_find("EVALSHA", "{alice}:box");
    assert_non_null(asked);
    assert_arg(asked, 7, "A");
    assert_non_null(asked_find("EVALSHA", "{bob}:box")); /* bob does not wait for alice */
    opening_answer("{bob}:box", &(struct stands){ .opened_us = 5 });
    opening_answer("{alice}:box", &(struct stands){ .opened_us = 6 });
    hear_welcome(&alice);
    answer(asked_next("XRANGE", "{bob}:box"), "[]");
    answer(asked_next("XRANGE", "{alice}:box"), "[]");
    asked = asked_find("EVALSHA", "{alice}:box");
    assert_non_null(asked);
    assert_arg(asked, 7, "B");
    assert_true(client_is_there(&others[2]));
    conn_abort(&others[2].session->conn); /* C ends while C waits */
    turns(2);
    opening_answer("{alice}:box", &(struct stands){ .opened_us = 7 });
    hear_welcome(&others[0]);
    assert_null(asked_find("EVALSHA", "{alice}:box"));
}

static void what_would_be_turned_out_anyhow_goes_before_redis_is_asked(void **state)
{
    static const char *const devices[] = { "B", "C", "D", "C", "E", "F" };

    (void)state;
    office.config->sessions.per_address = 3;
    client_open(&alice, "alice", "A");
    for (int i = 0; i < 6; i++)
        client_open(&others[i], "alice", devices[i]);
    turns(3);
    for (int i = 0; i < 3; i++) {
        peer_read(&others[i].peer);
        others[i].peer.at = sizeof ANSWER_101 - 1;
    }
    assert_has(hear_subject(&others[0], "goodbye"), "too many sessions");
    assert_has(hear_subject(&others[1], "goodbye"), "newer session of this device");
    assert_has(hear_subject(&others[2], "goodbye"), "too many sessions");
    for (int i = 3; i < 6; i++) {
        opening_answer("{alice}:box", &(struct stands){ .opened_us = i });
        answer(asked_next("XRANGE", "{alice}:box"), "[]");
        turns(2);
        assert_null(others[5].session->entry); /* F has not begun */
    }
    opening_answer("{alice}:box", &(struct stands){ .opened_us = 9 });
    assert_null(asked_find("EVALSHA", "{alice}:box"));
    hear_welcome(&others[5]);
}

/* ---- entering ---- */

static void an_entry_names_the_session_its_place_and_its_device(void **state)
{
    const struct asked *asked;

    (void)state;
    client_open(&alice, "alice", "APP");
    turns(1);
    asked = asked_next("EVALSHA", "{alice}:box");
    assert_arg(asked, 5, "po:{alice}:at");
    assert_arg(asked, 7, "APP");
    assert_arg(asked, 8, SERVER_EPOCH);
    assert_arg(asked, 9, field_of(alice.number));
    assert_arg(asked, 10, "0"); /* its place in the order is Redis's to give */
    assert_arg(asked, 11, "");  /* and it is new */
}

static void the_order_that_redis_gives_is_the_sessions(void **state)
{
    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1790000000000123);
    assert_true(alice.session->ordered);
    assert_true(alice.session->since_ns == UINT64_C(1790000000000123000));
    assert_true(published_since() == UINT64_C(1790000000000123000));
}

static void without_an_order_the_hosts_clock_stands_for_it(void **state)
{
    (void)state;
    client_enter_stored(&alice, "alice", "APP", 0);
    assert_false(alice.session->ordered);
    assert_true(alice.session->since_ns == whereabouts_since_ns(alice.session));
    assert_true(published_since() == alice.session->began_ns + (uint64_t)office.clock_ahead_ns);
}

static void a_new_order_of_a_listed_session_is_published(void **state)
{
    struct mailbox_opened opened = { .ok = true, .opened_us = 1790000000999999 };

    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1790000000000123);
    whereabouts_entered(alice.session, &opened);
    assert_true(published_since() == UINT64_C(1790000000999999000));
    whereabouts_entered(alice.session, &opened); /* the same: nothing moves */
    assert_true(published_since() == UINT64_C(1790000000999999000));
    opened.opened_us = 0; /* an answer that says none takes none away */
    whereabouts_entered(alice.session, &opened);
    assert_true(alice.session->ordered);
}

static void after_an_outage_it_is_entered_again_where_it_was_in_the_order(void **state)
{
    const struct asked *asked;

    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1790000000000123);
    redis_goes();
    redis_comes();
    turns(1);
    asked = asked_next("EVALSHA", "{alice}:box");
    assert_arg(asked, 9, field_of(alice.number));
    assert_arg(asked, 10, "1790000000000123");
    assert_arg(asked, 11, "");
}

static void one_that_began_without_redis_says_how_long_ago(void **state)
{
    const struct asked *asked;
    struct slice age;

    (void)state;
    redis_goes();
    client_open(&alice, "alice", "APP");
    turns(1);
    hear_welcome(&alice);
    clock_ms += 5000;
    redis_comes();
    turns(1);
    asked = asked_next("EVALSHA", "{alice}:box");
    age = asked_arg(asked, 11);
    assert_arg(asked, 10, "0");
    assert_int_equal(age.len, 7);
    assert_true(slice_starts(age, SLICE("500"))); /* 5 s, in microseconds */
}

/* ---- leaving ---- */

static void a_session_that_ends_takes_its_entry_out_once(void **state)
{
    struct asked *asked;

    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1);
    leave();
    asked = asked_next("HDEL", "{alice}:at");
    assert_arg(asked, 2, field_of(alice.number));
    answer(asked, "i", 1LL);
    turns(3);
    assert_int_equal(asked_count(), 0);
    assert_null(office.leaving);
}

static void one_that_was_never_entered_has_nothing_to_take_out(void **state)
{
    (void)state;
    redis_goes();
    client_enter(&alice, "alice", "APP");
    leave();
    assert_null(office.leaving);
    redis_comes();
    turns(2);
    assert_null(asked_find("HDEL", "{alice}:at"));
}

static void one_that_leaves_before_the_answer_takes_its_entry_out_all_the_same(void **state)
{
    (void)state;
    client_open(&alice, "alice", "APP");
    turns(1);
    assert_true(client_is_there(&alice));
    conn_abort(&alice.session->conn);
    turns(1);
    assert_arg(asked_next("HDEL", "{alice}:at"), 2, field_of(alice.number));
    opening_answer("{alice}:box", &(struct stands){ .opened_us = 5 }); /* nobody is there */
    assert_true(published_since() == 0);
}

static void what_cannot_be_said_while_redis_is_away_is_said_when_it_is_back(void **state)
{
    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1);
    redis_goes();
    leave();
    assert_int_equal(office.leaving_count, 1);
    redis_comes();
    turns(1);
    assert_int_equal(office.leaving_count, 0);
    assert_arg(asked_next("HDEL", "{alice}:at"), 2, field_of(alice.number));
}

static void what_was_asked_and_not_answered_is_asked_again(void **state)
{
    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1);
    leave();
    asked_next("HDEL", "{alice}:at");
    redis_goes();
    assert_int_equal(office.leaving_count, 1);
    redis_comes();
    turns(1);
    assert_arg(asked_next("HDEL", "{alice}:at"), 2, field_of(alice.number));
}

static void a_refusal_is_tried_again_too(void **state)
{
    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1);
    leave();
    answer(asked_next("HDEL", "{alice}:at"), "-", "READONLY You can't write");
    turns(2);
    assert_int_equal(office.leaving_count, 1);
    whereabouts_up(&office);
    turns(1);
    answer(asked_next("HDEL", "{alice}:at"), "i", 0LL); /* it was gone: that is well, too */
    turns(3);
    assert_int_equal(office.leaving_count, 0);
}

static void past_the_bound_a_ghost_is_left_and_counted(void **state)
{
    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1);
    redis_goes();
    office.leaving_count = 100000;
    leave();
    assert_null(office.leaving);
    assert_int_equal(counted(STAT_ghosts_left), 1);
    office.leaving_count = 0;
}

static void a_worker_that_ends_keeps_nothing_for_later(void **state)
{
    (void)state;
    client_enter_stored(&alice, "alice", "APP", 1);
    redis_goes();
    leave();
    assert_int_equal(office.leaving_count, 1);
    /* The teardown ends as worker.c does: no memory may be left, none freed twice. */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_address_has_one_opening_under_way),
        T(what_would_be_turned_out_anyhow_goes_before_redis_is_asked),
        T(an_entry_names_the_session_its_place_and_its_device),
        T(the_order_that_redis_gives_is_the_sessions),
        T(without_an_order_the_hosts_clock_stands_for_it),
        T(a_new_order_of_a_listed_session_is_published),
        T(after_an_outage_it_is_entered_again_where_it_was_in_the_order),
        T(one_that_began_without_redis_says_how_long_ago),
        T(a_session_that_ends_takes_its_entry_out_once),
        T(one_that_was_never_entered_has_nothing_to_take_out),
        T(one_that_leaves_before_the_answer_takes_its_entry_out_all_the_same),
        T(what_cannot_be_said_while_redis_is_away_is_said_when_it_is_back),
        T(what_was_asked_and_not_answered_is_asked_again),
        T(a_refusal_is_tried_again_too),
        T(past_the_bound_a_ghost_is_left_and_counted),
        T(a_worker_that_ends_keeps_nothing_for_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
