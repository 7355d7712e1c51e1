/* What becomes of a message: rejected by name, answered, or sent on as it came. */
#include "router_fixture.h"

static void mail_without_an_id_is_answered_by_the_id_it_was_given(void **state)
{
    char *id;

    (void)state;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":1}");
    id = strstr(hear(&bob), "\"id\":\"");
    assert_non_null(id);
    id[6 + 36] = 0;
    assert_has(hear_subject(&alice, "accepted"), id + 6);
}

static void from_must_be_allowed(void **state)
{
    const char *const relay[] = { "device/*", NULL };
    struct client gateway;
    struct buf token;

    (void)state;
    say(&alice, "{\"from\":\"bob\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&alice, "forbidden-from");
    assert_has(alice.said, "\"field\":\"from\"");
    expect_nothing(&bob.peer);
    office_trust_key(false);
    client_enter_as(
        &gateway, grant_of((struct token_request){ .sub = "gateway", .ttl_s = 60, .relay = relay }),
        "gateway", "");
    say(&gateway, "{\"from\":\"device/7\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    assert_has(hear(&bob), "\"from\":\"device/7\"");
    hear_subject(&gateway, "accepted");
    say(&gateway, "{\"from\":\"carol\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&gateway, "forbidden-from");
    /* The message's own token speaks for its sub, and for nobody else. */
    issue(&token, (struct token_request){ .sub = "carol", .ttl_s = 60 });
    say(&gateway,
        "{\"from\":\"carol\",\"to\":[\"bob\"]," LETTER
        ",\"type\":1,\"id\":\"m1\",\"token\":\"%s\"}",
        buf_text(&token));
    assert_has(hear(&bob), "\"from\":\"carol\"");
    assert_lacks(bob.said, "token");
    hear_subject(&gateway, "accepted");
    say(&gateway,
        "{\"from\":\"dave\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\",\"token\":\"%s\"}",
        buf_text(&token));
    rejected(&gateway, "forbidden-from");
    say(&gateway, "{\"from\":\"dave\",\"to\":[\"bob\"]," LETTER
                  ",\"type\":1,\"id\":\"m1\",\"token\":\"rubbish\"}");
    rejected(&gateway, "bad-token");
    buf_fini(&token);
    peer_close(&gateway.peer);
}

static void a_messages_own_token_brings_its_own_rights(void **state)
{
    const char *const only_alice[] = { "alice", NULL };
    struct buf token;

    (void)state;
    office_trust_key(false);
    issue(&token, (struct token_request){ .sub = "carol", .ttl_s = 60, .send = only_alice });
    say(&alice,
        "{\"from\":\"carol\",\"to\":[\"bob\"]," LETTER
        ",\"type\":1,\"id\":\"m1\",\"token\":\"%s\"}",
        buf_text(&token));
    rejected(&alice, "forbidden-to");
    buf_fini(&token);
}

static void recipients_must_be_allowed(void **state)
{
    const char *const send[] = { "bob", "team-*", NULL };
    struct client carol;

    (void)state;
    office_trust_key(false);
    client_enter_as(&carol,
                    grant_of((struct token_request){ .sub = "carol", .ttl_s = 60, .send = send }),
                    "carol", "");
    say(&carol,
        "{\"from\":\"carol\",\"to\":[\"bob\",\"alice\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&carol, "forbidden-to");
    expect_nothing(&bob.peer); /* nobody gets a message that may not go to all */
    say(&carol, "{\"from\":\"carol\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    hear_subject(&carol, "accepted");
    peer_close(&carol.peer);
}

static void who_may_write_to_groups(void **state)
{
    const char *const groups[] = { "#news", NULL };
    struct client carol;

    (void)state;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"#news\"]," LETTER ",\"type\":3,\"id\":\"m1\"}");
    rejected(&alice, "forbidden-to");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"#all\"]," LETTER ",\"type\":2,\"id\":\"m1\"}");
    rejected(&alice, "forbidden-to");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"#news\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&alice, "bad-field");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":3,\"id\":\"m1\"}");
    rejected(&alice, "bad-field");
    office_trust_key(false);
    client_enter_as(
        &carol, grant_of((struct token_request){ .sub = "carol", .ttl_s = 60, .groups = groups }),
        "carol", "");
    say(&carol, "{\"from\":\"carol\",\"to\":[\"#news\"]," LETTER ",\"type\":3,\"id\":\"m1\"}");
    hear_subject(&carol, "accepted"); /* all of its subscribers have it: there are none */
    assert_has(carol.said, "\"state\":2");
    peer_close(&carol.peer);
}

static void the_postmaster_takes_commands_and_nothing_else(void **state)
{
    (void)state;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"postmaster\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&alice, "forbidden-to");
    say(&alice,
        "{\"from\":\"alice\",\"to\":[\"postmaster\",\"bob\"]," LETTER ",\"type\":4,\"id\":\"m1\"}");
    rejected(&alice, "forbidden-to");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"$anything\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&alice, "forbidden-to");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"postmaster\"],\"subject\":\"dance\",\"type\":4,"
                "\"id\":\"m1\"}");
    rejected(&alice, "unknown-command");
    expect_nothing(&bob.peer);
}

static void a_receipt_keeps_its_state(void **state)
{
    (void)state;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER
                ",\"type\":4,\"state\":3,\"inReplyTo\":\"m0\",\"id\":\"m1\"}");
    assert_has(hear(&bob), "\"state\":3");
    assert_has(hear_subject(&alice, "accepted"), "\"inReplyTo\":\"m1\"");
}

static void the_other_receipts_are_the_servers_to_send(void **state)
{
    static const struct {
        const char *members, *code;
    } wrong[] = {
        { "\"state\":2,\"inReplyTo\":\"m0\"", "bad-field" },
        { "\"state\":4,\"inReplyTo\":\"m0\"", "bad-field" },
        { "\"state\":5,\"inReplyTo\":\"m0\"", "bad-field" },
        { "\"state\":0,\"inReplyTo\":\"m0\"", "bad-field" },
        { "\"state\":3", "missing-field" },
        { "\"inReplyTo\":\"m0\"", "missing-field" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":4,%s,\"id\":\"m1\"}",
            wrong[i].members);
        rejected(&alice, wrong[i].code);
    }
    expect_nothing(&bob.peer);
}

static void what_cannot_be_read_is_answered_too(void **state)
{
    (void)state;
    say(&alice, "this is not json");
    assert_has(hear_subject(&alice, "rejected"), "\"code\":\"bad-json\"");
    assert_lacks(alice.said, "inReplyTo");
    peer_frame(&alice.peer, 0x80 | WS_BINARY, "{\"\xff\":1}", 7);
    turns(1);
    assert_has(hear_subject(&alice, "rejected"), "\"code\":\"bad-json\"");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"],\"subject\":\"s\",\"type\":1,\"id\":\"m1\"}");
    rejected(&alice, "missing-field");
    assert_has(alice.said, "\"field\":\"content\"");
    assert_true(client_is_open(&alice));
    assert_int_equal(counted(STAT_rejected_bad_json), 2);
    assert_int_equal(counted(STAT_rejected_missing_field), 1);
}

static void too_many_messages_are_rejected_by_name(void **state)
{
    (void)state;
    office.config->limits.messages_per_s = 10;
    office.config->limits.burst = 2;
    alice.session->allowance->messages.left_k = 2000;
    for (int i = 0; i < 2; i++) {
        say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
        hear_subject(&alice, "accepted");
    }
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&alice, "rate-limited");
    assert_has(alice.said, "\"retryAfter\":100");
    clock_ms += 100;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    hear_subject(&alice, "accepted");
}

static void acknowledgements_do_not_count_as_messages(void **state)
{
    static const char ack[] = "{\"from\":\"alice\",\"to\":[\"postmaster\"],\"subject\":\"ack\","
                              "\"references\":\"1-0\",\"type\":4,\"id\":\"m1\"}";

    (void)state;
    office.config->limits.messages_per_s = 10;
    office.config->limits.burst = 1;
    office.config->limits.acks_per_s = 10;
    office.config->limits.acks_burst = 3;
    alice.session->allowance->messages.left_k = 1000;
    alice.session->allowance->acks.left_k = 3000;
    for (int i = 0; i < 3; i++) {
        say(&alice, ack);
        rejected(&alice, "storage-unavailable"); /* there is no Redis: judged, and not limited */
    }
    say(&alice, ack);
    rejected(&alice, "rate-limited");
    assert_has(alice.said, "limits.acksPerSecond");
    assert_int_equal(counted(STAT_acks_limited), 1);
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    hear_subject(&alice, "accepted");
}

static void too_many_errors_end_the_session_when_that_is_wanted(void **state)
{
    (void)state;
    office.config->limits.errors_per_minute = 2;
    say(&alice, "?");
    say(&alice, "?");
    hear_subject(&alice, "rejected");
    hear_subject(&alice, "rejected");
    pass_ms(61000);
    say(&alice, "?");
    say(&alice, "?");
    hear_subject(&alice, "rejected");
    hear_subject(&alice, "rejected");
    expect_nothing(&alice.peer);
    say(&alice, "?");
    hear_subject(&alice, "rejected");
    assert_has(hear_subject(&alice, "goodbye"), "\"code\":4503");
    expect_close(&alice.peer, WS_CLOSE_ERRORS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(mail_without_an_id_is_answered_by_the_id_it_was_given),
        T(from_must_be_allowed),
        T(a_messages_own_token_brings_its_own_rights),
        T(recipients_must_be_allowed),
        T(who_may_write_to_groups),
        T(the_postmaster_takes_commands_and_nothing_else),
        T(a_receipt_keeps_its_state),
        T(the_other_receipts_are_the_servers_to_send),
        T(what_cannot_be_read_is_answered_too),
        T(too_many_messages_are_rejected_by_name),
        T(acknowledgements_do_not_count_as_messages),
        T(too_many_errors_end_the_session_when_that_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
