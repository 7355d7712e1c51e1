#include "office_fixture.h"

#include "worker/entrance/rivals.h"

enum { CLIENTS_MAX = 10 };

static struct client clients[CLIENTS_MAX];

static int teardown(void **state)
{
    (void)state;
    office_close();
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (clients[i].peer.fd > 0)
            peer_close(&clients[i].peer);
    memset(clients, 0, sizeof clients);
    return 0;
}

static size_t published(const char *address)
{
    struct session_row places[CLIENTS_MAX];

    return sessions_find(office.region, sessions_key(office.region, slice_of(address)), places,
                         CLIENTS_MAX);
}

/* Goodbye with this code, then the close frame with it. */
static void told_to_leave(struct client *client, unsigned code)
{
    char part[32];

    snprintf(part, sizeof part, "\"code\":%u", code);
    assert_has(hear_subject(client, "goodbye"), part);
    expect_close(&client->peer, code);
}

static void welcome_is_the_first_word(void **state)
{
    struct client *client = &clients[0];

    (void)state;
    client_open(client, "alice", "APP");
    turns(1);
    hear_welcome(client);
    assert_has(client->said, "\"to\":[\"alice\"]");
    assert_has(client->said, "\"address\":\"alice\",\"device\":\"APP\"");
    assert_has(client->said, "\"node\":\"node-1\",\"worker\":0");
    assert_has(client->said, "\"recovered\":true");
    assert_has(client->said, "\"heartbeat\":25");
    assert_has(client->said, "\"limits\":{\"messageBytes\":1048576,\"recipients\":1000,");
    expect_nothing(&client->peer);
    assert_int_equal(published("alice"), 1);
    assert_int_equal(slots_sessions(office.region), 1);
}

static void who_asks_for_a_replay_hears_that_there_is_none(void **state)
{
    struct client *client = &clients[0];
    struct session_claim claim = { .address = SLICE("alice"),
                                   .device = SLICE(""),
                                   .answer = SLICE(ANSWER_101),
                                   .since = { (true) ? "1-0" : NULL, (true) ? 3 : 0 } };

    (void)state;
    claim.grant = grant_default(SLICE("alice"));
    assert_int_equal(slot_seat_take(office.region, SLOT), OK);
    client->session = life_open(&office, peer_open(&client->peer), &claim);
    grant_unref(claim.grant);
    turns(1);
    hear_welcome(client);
    assert_has(client->said, "\"recovered\":false");
}

static void what_came_with_the_request_is_answered_behind_welcome(void **state)
{
    struct client *client = &clients[0];
    struct session_claim claim = { .address = SLICE("alice"),
                                   .device = SLICE(""),
                                   .answer = SLICE(ANSWER_101) };
    static const char early[] =
        "{\"from\":\"alice\",\"to\":[\"postmaster\"],\"subject\":\"?\",\"type\":4}";
    struct buf frames;

    (void)state;
    buf_init(&frames, 4096);
    frame_add(&frames, 0x80 | WS_TEXT, early, sizeof early - 1);
    frame_add(&frames, 0x80 | WS_PING, "", 0);
    claim.grant = grant_default(SLICE("alice"));
    claim.early = buf_slice(&frames);
    assert_int_equal(slot_seat_take(office.region, SLOT), OK);
    client->session = life_open(&office, peer_open(&client->peer), &claim);
    grant_unref(claim.grant);
    turns(1);
    hear_welcome(client);
    hear_subject(client, "rejected");
    expect_frame(&client->peer, WS_PONG, "");
    buf_fini(&frames);
}

static void a_session_that_ends_leaves_nothing_behind(void **state)
{
    struct client *client = &clients[0];
    uint64_t number;

    (void)state;
    client_enter(client, "alice", "APP");
    number = client->number;
    client_leave(client);
    assert_int_equal(published("alice"), 0);
    assert_int_equal(slots_sessions(office.region), 0);
    assert_int_equal(office.directory.entry_count, 0);
    client_enter(client, "alice", "APP");
    assert_int_equal((uint32_t)client->number, (uint32_t)number); /* the same place … */
    assert_int_not_equal(client->number, number);                 /* … under another number */
    assert_null(session_by_number(&office, number));
    assert_null(session_by_number(&office, UINT64_MAX));
}

static void the_same_device_takes_the_place_of_the_older_session(void **state)
{
    (void)state;
    client_enter(&clients[0], "alice", "APP");
    client_enter(&clients[1], "alice", "TAB");
    client_enter(&clients[2], "alice", "APP");
    told_to_leave(&clients[0], WS_CLOSE_REPLACED);
    expect_nothing(&clients[1].peer);
    expect_nothing(&clients[2].peer);
    assert_int_equal(published("alice"), 2);
    assert_int_equal(counted(STAT_replaced), 1);
    peer_send_close(&clients[0].peer, WS_CLOSE_REPLACED);
    turns(1);
    client_leave(&clients[0]);
    assert_true(client_is_there(&clients[2]));
}

static void no_device_is_a_device_too(void **state)
{
    (void)state;
    client_enter(&clients[0], "alice", "");
    client_enter(&clients[1], "alice", "");
    client_enter(&clients[2], "bob", "");
    told_to_leave(&clients[0], WS_CLOSE_REPLACED);
    expect_nothing(&clients[1].peer);
}

static void of_too_many_the_oldest_gives_way(void **state)
{
    char device[8];

    (void)state;
    office.config->sessions.per_address = 3;
    for (int i = 0; i < 5; i++) {
        snprintf(device, sizeof device, "D%d", i);
        client_enter(&clients[i], "alice", device);
    }
    told_to_leave(&clients[0], WS_CLOSE_REPLACED);
    told_to_leave(&clients[1], WS_CLOSE_REPLACED);
    for (int i = 2; i < 5; i++)
        expect_nothing(&clients[i].peer);
    assert_int_equal(published("alice"), 3);
}

static void a_lowered_cap_turns_out_as_many_as_it_takes(void **state)
{
    char device[8];

    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(device, sizeof device, "D%d", i);
        client_enter(&clients[i], "alice", device);
    }
    office.config->sessions.per_address = 2;
    client_enter(&clients[5], "alice", "D4");
    for (int i = 0; i < 3; i++)
        told_to_leave(&clients[i], WS_CLOSE_REPLACED);
    told_to_leave(&clients[4], WS_CLOSE_REPLACED);
    assert_int_equal(published("alice"), 2);
}

static void a_newer_session_elsewhere_is_seen_when_asked(void **state)
{
    (void)state;
    client_enter(&clients[0], "alice", "APP");
    client_enter(&clients[1], "alice", "TAB");
    client_enter(&clients[2], "bob", "APP");
    elsewhere_add("alice", "APP");
    turns(1);
    expect_nothing(&clients[0].peer); /* Redis is away: nobody told us */
    rivals_check_replaced(&office);
    turns(1);
    told_to_leave(&clients[0], WS_CLOSE_REPLACED);
    expect_nothing(&clients[1].peer);
    expect_nothing(&clients[2].peer);
}

static void a_newer_session_here_stays_when_asked(void **state)
{
    (void)state;
    elsewhere_add("alice", "APP");
    client_enter(&clients[0], "alice", "APP");
    rivals_check_replaced(&office);
    turns(1);
    expect_nothing(&clients[0].peer);
}

static void an_expired_token_ends_its_session(void **state)
{
    (void)state;
    office_trust_key(true);
    client_enter_as(&clients[0], grant_of((struct token_request){ .sub = "alice", .ttl_s = 60 }),
                    "alice", "");
    pass_ms(59750);
    expect_nothing(&clients[0].peer);
    pass_ms(750);
    told_to_leave(&clients[0], WS_CLOSE_TOKEN_EXPIRED);
    assert_int_equal(counted(STAT_tokens_expired), 1);
    assert_int_equal(published("alice"), 0);
}

static void one_accepted_within_the_leeway_lasts_as_long_as_it(void **state)
{
    struct grant *grant;

    (void)state;
    office_trust_key(true);
    grant = grant_of((struct token_request){ .sub = "alice", .ttl_s = 10 });
    clock_ms += 12000;
    turns(1);
    client_enter_as(&clients[0], grant, "alice", "");
    pass_ms(2750);
    expect_nothing(&clients[0].peer);
    pass_ms(750);
    told_to_leave(&clients[0], WS_CLOSE_TOKEN_EXPIRED);
}

static void a_renewed_session_lasts_longer(void **state)
{
    struct grant *grant;

    (void)state;
    office_trust_key(true);
    client_enter_as(&clients[0], grant_of((struct token_request){ .sub = "alice", .ttl_s = 60 }),
                    "alice", "");
    grant = grant_of((struct token_request){ .sub = "alice", .ttl_s = 600 });
    session_renew(clients[0].session, grant);
    grant_unref(grant);
    pass_ms(599000);
    expect_nothing(&clients[0].peer);
    pass_ms(2000);
    told_to_leave(&clients[0], WS_CLOSE_TOKEN_EXPIRED);
}

static void an_unending_grant_never_expires(void **state)
{
    (void)state;
    client_enter(&clients[0], "alice", "");
    pass_ms(UINT64_C(7) * 3600 * 1000);
    expect_nothing(&clients[0].peer);
}

static void a_revoked_token_ends_its_session(void **state)
{
    struct config_list *revoked = &office.config->auth.revoked;

    (void)state;
    office_trust_key(true);
    client_enter_as(&clients[0],
                    grant_of((struct token_request){ .sub = "alice", .ttl_s = 60, .jti = "bad" }),
                    "alice", "");
    client_enter_as(&clients[1],
                    grant_of((struct token_request){ .sub = "bob", .ttl_s = 60, .jti = "good" }),
                    "bob", "");
    revoked->items = calloc(1, sizeof *revoked->items);
    revoked->items[0] = strdup("bad");
    revoked->count = 1;
    session_check_revoked(&office);
    session_check_revoked(&office);
    turns(1);
    told_to_leave(&clients[0], WS_CLOSE_REVOKED);
    expect_nothing(&clients[1].peer);
    assert_int_equal(counted(STAT_tokens_revoked), 1);
}

static void a_drain_tells_everybody_a_few_at_a_time(void **state)
{
    uint32_t cursor = 0;
    char address[8];

    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(address, sizeof address, "u%d", i);
        client_enter(&clients[i], address, "");
    }
    client_leave(&clients[1]); /* leaves a hole */
    assert_true(session_drain_some(&office, &cursor, 2, WS_CLOSE_GOING_AWAY, clock_ms + 20000));
    turns(1);
    expect_nothing(&clients[4].peer);
    while (session_drain_some(&office, &cursor, 2, WS_CLOSE_GOING_AWAY, clock_ms + 20000))
        continue;
    turns(1);
    for (int i = 0; i < 5; i++) {
        if (i == 1)
            continue;
        told_to_leave(&clients[i], WS_CLOSE_GOING_AWAY);
        assert_has(clients[i].said, "\"retryAfter\":");
    }
    pass_ms(10000); /* the drain's patience, not the usual one */
    assert_int_equal(office.host.open_count, 4);
    pass_ms(11000);
    assert_int_equal(office.host.open_count, 0);
}

static void a_full_table_refuses_and_leaves_nothing_behind(void **state)
{
    struct session_claim claim = { .address = SLICE("alice"),
                                   .device = SLICE(""),
                                   .answer = SLICE(ANSWER_101) };
    uint32_t taken[SESSIONS_MAX];
    struct peer peer;

    (void)state;
    for (uint32_t i = 0; i < SESSIONS_MAX; i++)
        taken[i] = sessions_add(office.table, (struct address_key){ i, i }, i + 1, SLICE(""), 1);
    claim.grant = grant_default(SLICE("alice"));
    log_set_level(LOG_ERROR + 1);
    assert_int_equal(slot_seat_take(office.region, SLOT), OK);
    life_open(&office, peer_open(&peer), &claim);
    grant_unref(claim.grant);
    turns(1);
    peer_read(&peer);
    assert_true(peer.ended);
    assert_int_equal(office.directory.entry_count, 0);
    assert_int_equal(slots_sessions(office.region), 0);
    for (uint32_t i = 0; i < SESSIONS_MAX; i++)
        sessions_remove(office.table, taken[i]);
    peer_close(&peer);
}

static void mail_that_was_not_read_is_counted(void **state)
{
    static const char zeros[200000];
    struct msg *msg = msg_new(slice_make(zeros, sizeof zeros), MSG_MAIL, 0);

    (void)state;
    client_enter(&clients[0], "alice", "");
    for (int i = 0; i < 4; i++)
        assert_int_equal(conn_send(&clients[0].session->conn, msg), OK);
    msg_unref(msg);
    turns(1);
    client_leave(&clients[0]);
    assert_int_equal(counted(STAT_mail_undelivered) + counted(STAT_messages_out), 4);
    assert_true(counted(STAT_mail_undelivered) > 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, office_setup, teardown)
    const struct CMUnitTest tests[] = {
        T(welcome_is_the_first_word),
        T(who_asks_for_a_replay_hears_that_there_is_none),
        T(what_came_with_the_request_is_answered_behind_welcome),
        T(a_session_that_ends_leaves_nothing_behind),
        T(the_same_device_takes_the_place_of_the_older_session),
        T(no_device_is_a_device_too),
        T(of_too_many_the_oldest_gives_way),
        T(a_lowered_cap_turns_out_as_many_as_it_takes),
        T(a_newer_session_elsewhere_is_seen_when_asked),
        T(a_newer_session_here_stays_when_asked),
        T(an_expired_token_ends_its_session),
        T(one_accepted_within_the_leeway_lasts_as_long_as_it),
        T(a_renewed_session_lasts_longer),
        T(an_unending_grant_never_expires),
        T(a_revoked_token_ends_its_session),
        T(a_drain_tells_everybody_a_few_at_a_time),
        T(a_full_table_refuses_and_leaves_nothing_behind),
        T(mail_that_was_not_read_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
