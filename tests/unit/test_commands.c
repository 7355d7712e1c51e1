#include "office_fixture.h"

static struct client alice, bob, bob2;

static int setup(void **state)
{
    (void)state;
    office_open("");
    office_trust_key(false);
    client_enter(&bob, "bob", "APP");
    client_enter(&bob2, "bob", "TAB");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_close();
    peer_close(&alice.peer);
    peer_close(&bob.peer);
    peer_close(&bob2.peer);
    return 0;
}

#define COMMAND(verb)                                                                              \
    "{\"from\":\"alice\",\"to\":[\"postmaster\"],\"subject\":\"" verb "\",\"type\":4"

static void alice_enters(struct token_request request)
{
    request.sub = "alice";
    request.ttl_s = 60;
    client_enter_as(&alice, grant_of(request), "alice", "APP");
}

static const char *result(void)
{
    hear_subject(&alice, "result");
    assert_has(alice.said, "\"inReplyTo\":\"c1\"");
    assert_has(alice.said, "\"type\":4");
    return alice.said;
}

static void refused(const char *code, const char *field)
{
    char part[64];

    hear_subject(&alice, "rejected");
    snprintf(part, sizeof part, "\"code\":\"%s\"", code);
    assert_has(alice.said, part);
    snprintf(part, sizeof part, "\"field\":\"%s\"", field);
    assert_has(alice.said, part);
    assert_has(alice.said, "\"inReplyTo\":\"c1\"");
}

static void presence_lists_devices_here_and_elsewhere(void **state)
{
    (void)state;
    alice_enters((struct token_request){ 0 });
    elsewhere_add("carol", "CAR");
    elsewhere_add("bob", "APP"); /* a device that is just changing its worker */
    say(&alice,
        COMMAND("presence") ",\"id\":\"c1\",\"tags\":[\"carol\",\"nobody\",\"bob\",\"carol\"]}");
    result();
    assert_has(alice.said, "\"online\":{\"carol\":[\"CAR\"],\"nobody\":[],\"bob\":[");
    assert_has(alice.said, "\"TAB\"");
    assert_has(alice.said, "\"APP\"");
    assert_null(strstr(strstr(alice.said, "\"APP\"") + 1, "\"APP\""));
    assert_has(alice.said, "]}}");
}

static void presence_of_who_has_left_is_empty(void **state)
{
    (void)state;
    alice_enters((struct token_request){ 0 });
    client_leave(&bob);
    client_leave(&bob2);
    say(&alice, COMMAND("presence") ",\"id\":\"c1\",\"tags\":[\"bob\"]}");
    assert_has(result(), "\"online\":{\"bob\":[]}}");
}

static void presence_takes_the_right_to_write(void **state)
{
    const char *const send[] = { "bob", NULL };

    (void)state;
    alice_enters((struct token_request){ .send = send });
    say(&alice, COMMAND("presence") ",\"id\":\"c1\",\"tags\":[\"bob\",\"alice\"]}");
    assert_has(result(), "\"alice\":[\"APP\"]"); /* itself it may always ask about */
    say(&alice, COMMAND("presence") ",\"id\":\"c1\",\"tags\":[\"bob\",\"carol\"]}");
    refused("forbidden-to", "tags");
    say(&alice, COMMAND("presence") ",\"id\":\"c1\",\"tags\":[\"#all\"]}");
    refused("forbidden-to", "tags");
}

static void presence_is_bounded(void **state)
{
    (void)state;
    alice_enters((struct token_request){ 0 });
    say(&alice, COMMAND("presence") ",\"id\":\"c1\"}");
    refused("missing-field", "tags");
    say(&alice, COMMAND("presence") ",\"id\":\"c1\",\"tags\":[\"\"]}");
    refused("bad-field", "tags");
    office.config->limits.recipients = 2;
    say(&alice, COMMAND("presence") ",\"id\":\"c1\",\"tags\":[\"a\",\"b\",\"c\"]}");
    refused("bad-field", "tags");
}

static void strange_names_are_quoted_in_results(void **state)
{
    (void)state;
    alice_enters((struct token_request){ 0 });
    elsewhere_add("a\"b\\", "d\"e");
    say(&alice, COMMAND("presence") ",\"id\":\"c1\",\"tags\":[\"a\\\"b\\\\\"]}");
    assert_has(result(), "\"online\":{\"a\\\"b\\\\\":[\"d\\\"e\"]}}");
}

static void renew_moves_the_end_and_the_rights(void **state)
{
    const char *const send[] = { "carol", NULL };
    struct buf token;

    (void)state;
    alice_enters((struct token_request){ 0 });
    issue(&token, (struct token_request){ .sub = "alice", .ttl_s = 600, .send = send });
    say(&alice, COMMAND("renew") ",\"id\":\"c1\",\"token\":\"%s\"}", buf_text(&token));
    buf_fini(&token);
    result();
    {
        char part[64];
        snprintf(part, sizeof part, "\"expiresAt\":%lld", (long long)clock_unix_s() + 600);
        assert_has(alice.said, part);
    }
    pass_ms(120000);
    assert_true(client_is_open(&alice));
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"c1\"}");
    assert_has(hear_subject(&alice, "rejected"), "\"code\":\"forbidden-to\"");
}

static void renew_wants_a_good_token_of_the_same_sub(void **state)
{
    struct buf token;

    (void)state;
    alice_enters((struct token_request){ 0 });
    say(&alice, COMMAND("renew") ",\"id\":\"c1\"}");
    refused("missing-field", "token");
    say(&alice, COMMAND("renew") ",\"id\":\"c1\",\"token\":\"rubbish\"}");
    refused("bad-token", "token");
    issue(&token, (struct token_request){ .sub = "bob", .ttl_s = 600 });
    say(&alice, COMMAND("renew") ",\"id\":\"c1\",\"token\":\"%s\"}", buf_text(&token));
    refused("bad-token", "token");
    buf_fini(&token);
    pass_ms(61000);
    assert_has(hear_subject(&alice, "goodbye"), "\"code\":4001");
}

static void renew_must_still_cover_the_sessions_address(void **state)
{
    const char *const relay[] = { "alice", NULL };
    struct buf token;

    (void)state;
    client_enter_as(&alice,
                    grant_of((struct token_request){ .sub = "gate", .ttl_s = 60, .relay = relay }),
                    "alice", "");
    issue(&token, (struct token_request){ .sub = "gate", .ttl_s = 600 });
    say(&alice, COMMAND("renew") ",\"id\":\"c1\",\"token\":\"%s\"}", buf_text(&token));
    refused("bad-token", "token");
    buf_fini(&token);
}

static void what_is_not_built_yet_is_unknown(void **state)
{
    static const char *const verbs[] = { "Recall", "Presence", "Subscribe", "" };

    (void)state;
    alice_enters((struct token_request){ 0 });
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        say(&alice,
            "{\"from\":\"alice\",\"to\":[\"postmaster\"],\"subject\":\"%s\",\"type\":4,\"id\":"
            "\"c1\"}",
            verbs[i]);
        refused("unknown-command", "subject");
    }
}

static void recall_needs_a_message_and_a_mailbox(void **state)
{
    (void)state;
    alice_enters((struct token_request){ 0 });
    say(&alice, COMMAND("recall") ",\"id\":\"c1\"}");
    refused("missing-field", "inReplyTo");
    say(&alice, COMMAND("recall") ",\"id\":\"c1\",\"inReplyTo\":\"m1\"}");
    assert_has(hear_subject(&alice, "rejected"), "\"code\":\"storage-unavailable\"");
}

static void a_command_needs_no_id(void **state)
{
    (void)state;
    alice_enters((struct token_request){ 0 });
    say(&alice, COMMAND("presence") ",\"tags\":[\"bob\"]}");
    assert_lacks(hear_subject(&alice, "result"), "inReplyTo");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(presence_lists_devices_here_and_elsewhere),
        T(presence_of_who_has_left_is_empty),
        T(presence_takes_the_right_to_write),
        T(presence_is_bounded),
        T(strange_names_are_quoted_in_results),
        T(renew_moves_the_end_and_the_rights),
        T(renew_wants_a_good_token_of_the_same_sub),
        T(renew_must_still_cover_the_sessions_address),
        T(what_is_not_built_yet_is_unknown),
        T(recall_needs_a_message_and_a_mailbox),
        T(a_command_needs_no_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
