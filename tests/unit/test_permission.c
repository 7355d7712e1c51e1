/* Each rule of docs/protocol.md, sections 3 and 6, about who may send what to whom. */
#include "worker/router/permission.h"

#include "token_fixture.h"

static struct forge forge;

static int setup(void **state)
{
    (void)state;
    forge_init(&forge);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    forge_fini(&forge);
    return 0;
}

static struct slice token_of(const char *sub, const char *po, int64_t expires_at)
{
    char claims[512];

    snprintf(claims, sizeof claims, "{\"sub\":\"%s\",\"exp\":%lld,\"po\":{%s}}", sub,
             (long long)expires_at, po);
    return forge_ed25519(&forge, HEADER_E1, slice_of(claims));
}

static struct grant *grant_of(const char *sub, const char *po)
{
    struct grant *grant = NULL;

    assert_int_equal(token_verify(&forge.config, token_of(sub, po, NOW + 60), NOW, &grant),
                     TOKEN_GOOD);
    return grant;
}

static void assert_fault(const struct envelope_fault *fault, enum reject_code code,
                         const char *field)
{
    assert_string_equal(envelope_reject_text(fault->code), envelope_reject_text(code));
    if (code == REJECT_NONE)
        return;
    assert_string_equal(fault->field, field);
    assert_non_null(fault->message);
}

/* ---- from ---- */

static void from_is_the_sessions_own_or_covered_by_its_token(void **state)
{
    static const struct {
        const char *address, *sub, *po, *from;
        bool allowed;
    } rows[] = {
        { "alice", "alice", "", "alice", true },
        { "alice", "alice", "", "bob", false },
        { "alice", "alice", "", "alic", false },
        { "alice", "alice", "", "Alice", false },
        /* a session that a relay token opened under another address: both are its own */
        { "device/7", "gate", "\"relay\":[\"device/*\"]", "device/7", true },
        { "device/7", "gate", "\"relay\":[\"device/*\"]", "gate", true },
        { "device/7", "gate", "\"relay\":[\"device/*\"]", "device/8", true },
        { "device/7", "gate", "\"relay\":[\"device/*\"]", "dev", false },
        { "gate", "gate", "\"relay\":[\"carol\",\"dave\"]", "dave", true },
        { "gate", "gate", "\"relay\":[\"carol\",\"dave\"]", "dave2", false },
        /* no pattern speaks for the server or for a group */
        { "gate", "gate", "\"relay\":[\"*\"]", "anybody", true },
        { "gate", "gate", "\"relay\":[\"*\"]", "postmaster", false },
        { "gate", "gate", "\"relay\":[\"*\"]", "$x", false },
        { "gate", "gate", "\"relay\":[\"*\"]", "#news", false },
        { "gate", "gate", "\"relay\":[\"*\"]", "#all", false },
        /* what may be sent to says nothing of what may be spoken for */
        { "alice", "alice", "\"send\":[\"bob\"],\"groups\":[\"bob\"]", "bob", false },
        { "alice", "alice", "\"admin\":true,\"broadcast\":true", "bob", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct grant *grant = grant_of(rows[i].sub, rows[i].po), *own = grant;
        struct permission_session session = {
            slice_of(rows[i].address), grant, &forge.config, NOW, NULL, NULL
        };
        struct envelope envelope = { .from = slice_of(rows[i].from), .type = TYPE_MAIL };
        struct envelope_fault fault = { .code = REJECT_NONE };

        assert_int_equal(permission_check_from(&session, &envelope, &own, &fault),
                         rows[i].allowed ? OK : ERR_BAD);
        assert_fault(&fault, rows[i].allowed ? REJECT_NONE : REJECT_FORBIDDEN_FROM, "from");
        assert_null(own);
        grant_unref(grant);
    }
}

static void a_messages_own_token_speaks_for_its_sub_alone(void **state)
{
    static const struct {
        const char *sub, *po, *from;
        enum reject_code code;
    } rows[] = {
        { "carol", "", "carol", REJECT_NONE },
        { "carol", "\"send\":[\"bob\"]", "carol", REJECT_NONE },
        { "carol", "", "dave", REJECT_FORBIDDEN_FROM },
        { "carol", "\"relay\":[\"dave\"]", "dave", REJECT_FORBIDDEN_FROM },
        { "carol", "\"relay\":[\"*\"]", "dave", REJECT_FORBIDDEN_FROM },
    };
    struct grant *grant = grant_of("alice", "");
    struct permission_session session = { SLICE("alice"), grant, &forge.config, NOW, NULL, NULL };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct envelope envelope = { .from = slice_of(rows[i].from),
                                     .type = TYPE_MAIL,
                                     .token = token_of(rows[i].sub, rows[i].po, NOW + 60) };
        struct envelope_fault fault = { .code = REJECT_NONE };
        struct grant *own = grant;
        bool allowed = rows[i].code == REJECT_NONE;

        assert_int_equal(permission_check_from(&session, &envelope, &own, &fault),
                         allowed ? OK : ERR_BAD);
        assert_fault(&fault, rows[i].code, "from");
        if (allowed)
            assert_string_equal(own->sub, rows[i].sub);
        else
            assert_null(own);
        grant_unref(own);
    }
    grant_unref(grant);
}

static void a_bad_token_is_named_and_an_unneeded_one_not_read(void **state)
{
    struct grant *grant = grant_of("alice", ""), *own = grant;
    struct permission_session session = { SLICE("alice"), grant, &forge.config, NOW, NULL, NULL };
    struct envelope envelope = { .from = SLICE("carol"), .type = TYPE_MAIL };
    struct envelope_fault fault = { .code = REJECT_NONE };

    (void)state;
    envelope.token = SLICE("rubbish");
    assert_int_equal(permission_check_from(&session, &envelope, &own, &fault), ERR_BAD);
    assert_fault(&fault, REJECT_BAD_TOKEN, "token");
    assert_null(own);
    envelope.token = token_of("carol", "", NOW + 60);
    session.now_s = NOW + 60 + forge.config.auth.leeway_s;
    assert_int_equal(permission_check_from(&session, &envelope, &own, &fault), ERR_BAD);
    assert_fault(&fault, REJECT_BAD_TOKEN, "token");
    assert_string_equal(fault.message, token_fault_text(TOKEN_EXPIRED));
    assert_null(own);
    envelope.token = SLICE("");
    assert_int_equal(permission_check_from(&session, &envelope, &own, &fault), ERR_BAD);
    assert_fault(&fault, REJECT_BAD_TOKEN, "token");
    envelope.from = SLICE("alice");
    envelope.token = SLICE("rubbish");
    assert_int_equal(permission_check_from(&session, &envelope, &own, &fault), OK);
    assert_null(own);
    grant_unref(grant);
}

/* ---- recipients ---- */

#define ALL_RIGHTS "\"groups\":[\"*\"],\"broadcast\":true,\"admin\":true"

static void each_recipient_must_be_allowed(void **state)
{
    static const struct {
        const char *po, *to;
        enum envelope_type type;
        enum reject_code code;
    } rows[] = {
        /* user addresses: `send`, by default all */
        { "", "bob", TYPE_MAIL, REJECT_NONE },
        { "", "bob", TYPE_SIGNAL, REJECT_NONE },
        { "", "bob", TYPE_CONTROL, REJECT_NONE },
        { "", "alice", TYPE_MAIL, REJECT_NONE },
        { "\"send\":[]", "bob", TYPE_MAIL, REJECT_FORBIDDEN_TO },
        { "\"send\":[]", "alice", TYPE_MAIL, REJECT_FORBIDDEN_TO },
        { "\"send\":[\"bob\",\"team-*\"]", "bob", TYPE_MAIL, REJECT_NONE },
        { "\"send\":[\"bob\",\"team-*\"]", "team-1", TYPE_SIGNAL, REJECT_NONE },
        { "\"send\":[\"bob\",\"team-*\"]", "team", TYPE_MAIL, REJECT_FORBIDDEN_TO },
        { "\"send\":[\"bob\",\"team-*\"]", "bobby", TYPE_SIGNAL, REJECT_FORBIDDEN_TO },
        { "\"send\":[\"bob\",\"team-*\"]", "carol", TYPE_CONTROL, REJECT_FORBIDDEN_TO },
        /* a post goes to groups alone, mail and receipts to user addresses alone */
        { ALL_RIGHTS, "bob", TYPE_POST, REJECT_BAD_FIELD },
        { ALL_RIGHTS, "postmaster", TYPE_POST, REJECT_BAD_FIELD },
        { ALL_RIGHTS, "#news", TYPE_MAIL, REJECT_BAD_FIELD },
        { ALL_RIGHTS, "#news", TYPE_CONTROL, REJECT_BAD_FIELD },
        { ALL_RIGHTS, "#all", TYPE_MAIL, REJECT_BAD_FIELD },
        { ALL_RIGHTS, "#news", TYPE_POST, REJECT_NONE },
        { ALL_RIGHTS, "#news", TYPE_SIGNAL, REJECT_NONE },
        /* groups: `groups`, by default none; `send` does not count */
        { "", "#news", TYPE_POST, REJECT_FORBIDDEN_TO },
        { "", "#news", TYPE_SIGNAL, REJECT_FORBIDDEN_TO },
        { "\"send\":[\"#news\"]", "#news", TYPE_POST, REJECT_FORBIDDEN_TO },
        { "\"groups\":[\"#news\",\"#t-*\"]", "#news", TYPE_POST, REJECT_NONE },
        { "\"groups\":[\"#news\",\"#t-*\"]", "#t-1", TYPE_SIGNAL, REJECT_NONE },
        { "\"groups\":[\"#news\",\"#t-*\"]", "#newsroom", TYPE_POST, REJECT_FORBIDDEN_TO },
        /* #all: `broadcast` alone, never a pattern */
        { "\"groups\":[\"*\",\"#*\",\"#all\"]", "#all", TYPE_POST, REJECT_FORBIDDEN_TO },
        { "\"groups\":[\"*\",\"#*\",\"#all\"]", "#all", TYPE_SIGNAL, REJECT_FORBIDDEN_TO },
        { "\"broadcast\":true", "#all", TYPE_POST, REJECT_NONE },
        { "\"broadcast\":true", "#all", TYPE_SIGNAL, REJECT_NONE },
        { "\"broadcast\":true", "#news", TYPE_POST, REJECT_FORBIDDEN_TO },
        /* reserved addresses: nobody */
        { ALL_RIGHTS, "postmaster", TYPE_MAIL, REJECT_FORBIDDEN_TO },
        { ALL_RIGHTS, "postmaster", TYPE_SIGNAL, REJECT_FORBIDDEN_TO },
        { ALL_RIGHTS, "$sys", TYPE_MAIL, REJECT_FORBIDDEN_TO },
        { "\"send\":[\"$sys\",\"postmaster\"]", "$sys", TYPE_SIGNAL, REJECT_FORBIDDEN_TO },
        { "\"send\":[\"$sys\",\"postmaster\"]", "postmaster", TYPE_MAIL, REJECT_FORBIDDEN_TO },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct grant *grant = grant_of("alice", rows[i].po);
        struct slice recipients[] = { slice_of(rows[i].to) };
        struct envelope envelope = { .from = SLICE("alice"),
                                     .recipients = recipients,
                                     .recipient_count = 1,
                                     .type = rows[i].type,
                                     .state = 3,
                                     .has_state = true,
                                     .in_reply_to = SLICE("m0") };
        struct envelope_fault fault = { .code = REJECT_NONE };
        bool allowed = rows[i].code == REJECT_NONE;

        assert_int_equal(permission_check_message(grant, &envelope, &fault),
                         allowed ? OK : ERR_BAD);
        assert_fault(&fault, rows[i].code, "to");
        grant_unref(grant);
    }
}

/* At every position in the list. */
static void one_forbidden_recipient_forbids_the_message(void **state)
{
    struct grant *grant = grant_of("alice", "\"send\":[\"a\",\"b\",\"c\"]");

    (void)state;
    for (size_t i = 0; i <= 3; i++) {
        struct slice recipients[] = { SLICE("a"), SLICE("b"), SLICE("c") };
        struct envelope envelope = { .from = SLICE("alice"),
                                     .recipients = recipients,
                                     .recipient_count = 3,
                                     .type = TYPE_MAIL };
        struct envelope_fault fault = { .code = REJECT_NONE };

        if (i < 3)
            recipients[i] = SLICE("d");
        assert_int_equal(permission_check_message(grant, &envelope, &fault), i < 3 ? ERR_BAD : OK);
        assert_fault(&fault, i < 3 ? REJECT_FORBIDDEN_TO : REJECT_NONE, "to");
    }
    grant_unref(grant);
}

/* Beside another recipient the postmaster is no command's but a reserved address. */
static void the_postmaster_takes_nothing_with_other_recipients(void **state)
{
    struct grant *grant = grant_of("alice", "");
    struct slice recipients[] = { SLICE("postmaster"), SLICE("bob") };
    struct envelope envelope = {
        .from = SLICE("alice"), .recipients = recipients, .recipient_count = 2, .type = TYPE_CONTROL
    };
    struct envelope_fault fault = { .code = REJECT_NONE };

    (void)state;
    assert_false(envelope_is_command(&envelope));
    assert_int_equal(permission_check_message(grant, &envelope, &fault), ERR_BAD);
    assert_fault(&fault, REJECT_FORBIDDEN_TO, "to");
    envelope.recipient_count = 1;
    assert_true(envelope_is_command(&envelope));
    envelope.type = TYPE_MAIL;
    assert_false(envelope_is_command(&envelope));
    grant_unref(grant);
}

/* ---- receipts ---- */

static void a_client_sends_no_receipt_but_read(void **state)
{
    struct grant *grant = grant_of("alice", "");

    (void)state;
    for (int64_t number = -1; number <= 9; number++)
        for (int answers = 0; answers <= 1; answers++) {
            struct slice recipients[] = { SLICE("bob") };
            struct envelope envelope = { .from = SLICE("alice"),
                                         .recipients = recipients,
                                         .recipient_count = 1,
                                         .type = TYPE_CONTROL,
                                         .has_state = number >= 0,
                                         .state = number >= 0 ? number : 0,
                                         .in_reply_to = { answers ? "m0" : NULL,
                                                          answers ? 2 : 0 } };
            struct envelope_fault fault = { .code = REJECT_NONE };

            permission_check_message(grant, &envelope, &fault);
            if (number < 0)
                assert_fault(&fault, REJECT_MISSING_FIELD, "state");
            else if (number != 3)
                assert_fault(&fault, REJECT_BAD_FIELD, "state");
            else if (!answers)
                assert_fault(&fault, REJECT_MISSING_FIELD, "inReplyTo");
            else
                assert_fault(&fault, REJECT_NONE, NULL);
        }
    grant_unref(grant);
}

static void a_forbidden_recipient_is_named_before_a_receipts_fault(void **state)
{
    struct grant *grant = grant_of("alice", "\"send\":[]");
    struct slice recipients[] = { SLICE("bob") };
    struct envelope envelope = {
        .from = SLICE("alice"), .recipients = recipients, .recipient_count = 1, .type = TYPE_CONTROL
    };
    struct envelope_fault fault = { .code = REJECT_NONE };

    (void)state;
    assert_int_equal(permission_check_message(grant, &envelope, &fault), ERR_BAD);
    assert_fault(&fault, REJECT_FORBIDDEN_TO, "to");
    grant_unref(grant);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(from_is_the_sessions_own_or_covered_by_its_token),
        T(a_messages_own_token_speaks_for_its_sub_alone),
        T(a_bad_token_is_named_and_an_unneeded_one_not_read),
        T(each_recipient_must_be_allowed),
        T(one_forbidden_recipient_forbids_the_message),
        T(the_postmaster_takes_nothing_with_other_recipients),
        T(a_client_sends_no_receipt_but_read),
        T(a_forbidden_recipient_is_named_before_a_receipts_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
