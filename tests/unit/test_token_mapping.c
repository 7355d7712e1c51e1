/* auth.claims and auth.defaultGrant: which claims of a token hold its address and its rights. */
#include "tests/unit/token_fixture.h"

#define EXP "\"exp\":1790000060"

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

/* Judges the claims, and returns the grant, the caller's; NULL with *reason. */
static struct grant *granted(const char *claims, const char **reason)
{
    struct grant *grant = NULL;

    token_judge(&forge.config, forge_ed25519(&forge, HEADER_E1, slice_of(claims)), NOW, &grant,
                reason);
    return grant;
}

static void the_configured_claim_holds_the_address(void **state)
{
    static const struct {
        const char *claims, *sub, *named;
    } rows[] = {
        { "{\"sub\":\"17\",\"email\":\"al@example.com\"," EXP "}", "al@example.com", NULL },
        { "{\"sub\":17,\"email\":\"al@example.com\"," EXP "}", "al@example.com", NULL },
        { "{\"sub\":\"17\",\"email\":\"al@x\",\"email_verified\":true," EXP "}", "al@x", NULL },
        { "{\"sub\":\"17\",\"email\":\"al@x\",\"email_verified\":\"true\"," EXP "}", "al@x", NULL },
        { "{\"sub\":\"17\",\"email\":\"al@x\",\"email_verified\":false," EXP "}", NULL,
          "claim email_verified" },
        { "{\"sub\":\"17\",\"email_verified\":\"no\",\"email\":\"al@x\"," EXP "}", NULL,
          "claim email_verified" },
        { "{\"sub\":\"alice\"," EXP "}", NULL, "claim email is missing" },
        { "{\"sub\":\"alice\",\"email\":\"\"," EXP "}", NULL, "claim email is no user address" },
        { "{\"sub\":\"alice\",\"email\":\"postmaster\"," EXP "}", NULL, "claim email is no user" },
        { "{\"sub\":\"alice\",\"email\":\"#team\"," EXP "}", NULL, "claim email is no user" },
        { "{\"sub\":\"alice\",\"email\":\"a\\nb\"," EXP "}", NULL, "claim email is no user" },
        { "{\"sub\":\"alice\",\"email\":[\"a\"]," EXP "}", NULL, "claim email is no text" },
    };
    static char email[] = "email";

    (void)state;
    forge.config.auth.claim_address = email;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *reason;
        struct grant *grant = granted(rows[i].claims, &reason);
        assert_int_equal(grant != NULL, rows[i].sub != NULL);
        if (grant)
            assert_string_equal(grant->sub, rows[i].sub);
        else if (!strstr(reason, rows[i].named))
            fail_msg("%s: %s", rows[i].claims, reason);
        grant_unref(grant);
    }
    forge.config.auth.claim_address = NULL;
}

/* An address of `sub` has nothing to do with the e-mail address. */
static void email_verified_counts_for_email_alone(void **state)
{
    const char *reason;
    struct grant *grant =
        granted("{\"sub\":\"alice\",\"email\":7,\"email_verified\":false," EXP "}", &reason);

    (void)state;
    assert_non_null(grant);
    grant_unref(grant);
}

static void the_configured_claim_holds_the_rights(void **state)
{
    static char name[] = "https://example.com/po";
    const char *reason;
    struct grant *grant;

    (void)state;
    forge.config.auth.claim_rights = name;
    grant = granted("{\"sub\":\"a\",\"po\":{\"admin\":true},\"https:\\/\\/example.com\\/po\":"
                    "{\"groups\":[\"#t\"]}," EXP "}",
                    &reason);
    assert_non_null(grant);
    assert_true(grant_may_use_group(grant, SLICE("#t")));
    assert_false(grant->admin);
    grant_unref(grant);
    assert_null(granted("{\"sub\":\"a\",\"https://example.com/po\":[]," EXP "}", &reason));
    assert_string_equal(reason, "claim https://example.com/po is no object");
    assert_null(
        granted("{\"sub\":\"a\",\"https://example.com/po\":{\"send\":\"*\"}," EXP "}", &reason));
    assert_string_equal(reason, "claim https://example.com/po.send is no list of patterns");
    forge.config.auth.claim_rights = NULL;
}

static void a_token_without_rights_has_the_default_grant(void **state)
{
    static char team[] = "#team", bot[] = "bot-*", ops[] = "ops";
    static char *groups[] = { team }, *relay[] = { bot }, *send[] = { ops };
    const char *reason;
    struct grant *grant;

    (void)state;
    forge.config.auth.default_grant.groups = (struct config_list){ groups, 1 };
    forge.config.auth.default_grant.relay = (struct config_list){ relay, 1 };
    forge.config.auth.default_grant.send = (struct config_list){ send, 1 };
    forge.config.auth.default_grant.broadcast = true;
    grant = granted("{\"sub\":\"a\"," EXP "}", &reason);
    assert_non_null(grant);
    assert_true(grant_may_use_group(grant, SLICE("#team")) && grant->broadcast);
    assert_true(grant_may_speak_for(grant, SLICE("bot-1")));
    assert_true(grant_may_send_to(grant, SLICE("ops")));
    assert_false(grant_may_send_to(grant, SLICE("bob")));
    assert_false(grant->admin);
    grant_unref(grant);
    grant =
        granted("{\"sub\":\"a\",\"po\":{}," EXP "}", &reason); /* it has rights: the usual ones */
    assert_non_null(grant);
    assert_false(grant_may_use_group(grant, SLICE("#team")) || grant->broadcast);
    assert_true(grant_may_send_to(grant, SLICE("bob")));
    grant_unref(grant);
    forge.config.auth.default_grant.send = (struct config_list){ NULL, 0 };
    grant = granted("{\"sub\":\"a\"," EXP "}", &reason);
    assert_non_null(grant);
    assert_false(grant_may_send_to(grant, SLICE("ops")));
    grant_unref(grant);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_configured_claim_holds_the_address),
        TEST(email_verified_counts_for_email_alone),
        TEST(the_configured_claim_holds_the_rights),
        TEST(a_token_without_rights_has_the_default_grant),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
