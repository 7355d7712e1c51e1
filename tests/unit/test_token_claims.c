/* What tokens claim, and the grants they become. */
#include "tests/unit/token_fixture.h"

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

struct row {
    const char *claims;
    enum token_fault fault;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (claims_verdict(&forge, rows[i].claims) != rows[i].fault)
            fail_msg("%s: %s", rows[i].claims,
                     token_fault_text(claims_verdict(&forge, rows[i].claims)));
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))
#define EXP         "\"exp\":1790000060"

static void claims_are_one_json_object_without_duplicates(void **state)
{
    static const struct row rows[] = {
        { "", TOKEN_BAD_CLAIMS },
        { "[]", TOKEN_BAD_CLAIMS },
        { "null", TOKEN_BAD_CLAIMS },
        { "\"sub\"", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"alice\"," EXP "}x", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"alice\"," EXP, TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"alice\",\"sub\":\"bob\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"alice\",\"s\\u0075b\":\"alice\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"alice\"," EXP ",\"exp\":1999999999}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"alice\"," EXP ",\"po\":{\"admin\":false,\"admin\":true}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"ali\xff"
          "ce\"," EXP "}",
          TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"alice\"," EXP ",\"x\":[[[[[[[[[[]]]]]]]]]]}", TOKEN_BAD_CLAIMS },
        { " {\"sub\" : \"alice\" , " EXP "} \r\n", TOKEN_GOOD },
        { "{\"sub\":\"\\u0061lice\"," EXP "}", TOKEN_GOOD },
        { "{\"sub\":\"alice\"," EXP ",\"scope\":{\"deep\":[1,2]},\"Sub\":7}", TOKEN_GOOD },
    };

    (void)state;
    CHECK(rows);
}

static void sub_must_be_an_address_that_may_speak(void **state)
{
    static const struct row rows[] = {
        { "{" EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":7," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":null," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":[\"alice\"]," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"postmaster\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"#all\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"#team\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"$worker.0\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\" alice\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"ali\\nce\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"alice\\u0000\"," EXP "}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"/service/erp/company/001\"," EXP "}", TOKEN_GOOD },
        { "{\"sub\":\"\xe5\xbc\xa0\xe4\xb8\x89\"," EXP "}", TOKEN_GOOD },
    };

    (void)state;
    CHECK(rows);
}

static void times_are_seconds_with_the_leeway(void **state)
{
    static const struct row rows[] = {
        { "{\"sub\":\"a\"}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":1790000001}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1790000000}", TOKEN_GOOD }, /* within the leeway of 5 */
        { "{\"sub\":\"a\",\"exp\":1789999996}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1789999995}", TOKEN_EXPIRED },
        { "{\"sub\":\"a\",\"exp\":0}", TOKEN_EXPIRED },
        { "{\"sub\":\"a\",\"exp\":-1}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":9007199254740992}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":9007199254740993}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":9223372036854775807}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":9223372036854775808}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":18446744073709551617}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":1790000060.0}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1790000060.999999999999999999999}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1789999995.9}", TOKEN_EXPIRED },
        { "{\"sub\":\"a\",\"exp\":1.9e9}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1.79E+9}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1.789999996e9}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1.789999995e9}", TOKEN_EXPIRED },
        { "{\"sub\":\"a\",\"exp\":17900000605e-1}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1790000060e0}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":0.00179e12}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1e-400}", TOKEN_EXPIRED },
        { "{\"sub\":\"a\",\"exp\":0e999999999999}", TOKEN_EXPIRED },
        { "{\"sub\":\"a\",\"exp\":-0.0}", TOKEN_EXPIRED },
        { "{\"sub\":\"a\",\"exp\":-0.5}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":-1.9e9}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":1e300}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":1e999999999999}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":1790000000000000000000e-12}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":\"1790000060\"}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":\"2036-01-01T00:00:00Z\"}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":null}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":true}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"nbf\":1790000005}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"nbf\":1790000006}", TOKEN_NOT_YET },
        { "{\"sub\":\"a\"," EXP ",\"nbf\":\"x\"}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"iat\":1790000005}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"iat\":1790000006}", TOKEN_NOT_YET },
        { "{\"sub\":\"a\"," EXP ",\"iat\":1.5}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"iat\":1790000005.9}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"nbf\":1.790000006e9}", TOKEN_NOT_YET },
        { "{\"sub\":\"a\",\"exp\":1,\"nbf\":1999999999}", TOKEN_EXPIRED },
    };

    (void)state;
    CHECK(rows);
    forge.config.auth.leeway_s = 0;
    assert_int_equal(claims_verdict(&forge, "{\"sub\":\"a\",\"exp\":1790000001}"), TOKEN_GOOD);
    assert_int_equal(claims_verdict(&forge, "{\"sub\":\"a\",\"exp\":1790000000}"), TOKEN_EXPIRED);
    assert_int_equal(claims_verdict(&forge, "{\"sub\":\"a\"," EXP ",\"nbf\":1790000000}"),
                     TOKEN_GOOD);
    assert_int_equal(claims_verdict(&forge, "{\"sub\":\"a\"," EXP ",\"nbf\":1790000001}"),
                     TOKEN_NOT_YET);
}

static void a_token_may_be_unending_only_where_that_is_allowed(void **state)
{
    struct grant *grant = NULL;

    (void)state;
    assert_int_equal(claims_verdict(&forge, "{\"sub\":\"a\"}"), TOKEN_BAD_CLAIMS);
    forge.config.auth.allow_unending = true;
    struct slice token = forge_ed25519(&forge, HEADER_E1, SLICE("{\"sub\":\"a\"}"));
    assert_int_equal(token_verify(&forge.config, token, NOW, &grant), TOKEN_GOOD);
    assert_true(grant->expires_at == INT64_MAX);
    grant_unref(grant);
    assert_int_equal(claims_verdict(&forge, "{\"sub\":\"a\",\"exp\":1}"), TOKEN_EXPIRED);
}

static void audience_and_issuer_count_when_configured(void **state)
{
    static const struct row unasked[] = {
        { "{\"sub\":\"a\"," EXP ",\"aud\":\"other\",\"iss\":\"other\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"aud\":7}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"aud\":[\"po\",7]}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"aud\":{\"po\":1}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"iss\":[\"me\"]}", TOKEN_BAD_CLAIMS },
    };
    static const struct row audience[] = {
        { "{\"sub\":\"a\"," EXP "}", TOKEN_WRONG_AUDIENCE },
        { "{\"sub\":\"a\"," EXP ",\"aud\":\"po\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"aud\":\"p\\u006f\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"aud\":\"PO\"}", TOKEN_WRONG_AUDIENCE },
        { "{\"sub\":\"a\"," EXP ",\"aud\":\"po \"}", TOKEN_WRONG_AUDIENCE },
        { "{\"sub\":\"a\"," EXP ",\"aud\":\"\"}", TOKEN_WRONG_AUDIENCE },
        { "{\"sub\":\"a\"," EXP ",\"aud\":[]}", TOKEN_WRONG_AUDIENCE },
        { "{\"sub\":\"a\"," EXP ",\"aud\":[\"x\",\"po\"]}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"aud\":[\"x\",\"pox\"]}", TOKEN_WRONG_AUDIENCE },
    };
    static const struct row issuer[] = {
        { "{\"sub\":\"a\"," EXP "}", TOKEN_WRONG_ISSUER },
        { "{\"sub\":\"a\"," EXP ",\"iss\":\"idp\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"iss\":\"idp/\"}", TOKEN_WRONG_ISSUER },
        { "{\"sub\":\"a\"," EXP ",\"iss\":\"\"}", TOKEN_WRONG_ISSUER },
    };
    static char po[] = "po", idp[] = "idp", none[] = "";

    (void)state;
    CHECK(unasked);
    forge.config.auth.audience = none;
    forge.config.auth.issuer = none;
    CHECK(unasked);
    forge.config.auth.audience = po;
    CHECK(audience);
    forge.config.auth.audience = none;
    forge.config.auth.issuer = idp;
    CHECK(issuer);
}

static void a_refusal_names_the_claim(void **state)
{
    static const struct {
        const char *claims, *named;
    } rows[] = {
        { "{" EXP "}", "claim sub" },
        { "{\"sub\":7," EXP "}", "claim sub" },
        { "{\"sub\":\"#all\"," EXP "}", "claim sub" },
        { "{\"sub\":\"a\"}", "claim exp" },
        { "{\"sub\":\"a\",\"exp\":\"1\"}", "claim exp" },
        { "{\"sub\":\"a\",\"exp\":1}", "claim exp" },
        { "{\"sub\":\"a\"," EXP ",\"nbf\":true}", "claim nbf" },
        { "{\"sub\":\"a\"," EXP ",\"nbf\":1999999999}", "claim nbf" },
        { "{\"sub\":\"a\"," EXP ",\"iat\":[]}", "claim iat" },
        { "{\"sub\":\"a\"," EXP ",\"iat\":1999999999}", "claim iat" },
        { "{\"sub\":\"a\"," EXP ",\"jti\":1}", "claim jti" },
        { "{\"sub\":\"a\"," EXP ",\"iss\":1}", "claim iss" },
        { "{\"sub\":\"a\"," EXP ",\"aud\":1}", "claim aud" },
        { "{\"sub\":\"a\"," EXP ",\"aud\":\"else\"}", "claim aud" },
        { "{\"sub\":\"a\"," EXP ",\"po\":1}", "claim po" },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"send\":1}}", "claim po.send" },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"admin\":1}}", "claim po.admin" },
    };
    static char audience[] = "po";

    (void)state;
    forge.config.auth.audience = audience;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice token = forge_ed25519(&forge, HEADER_E1, slice_of(rows[i].claims));
        struct grant *grant = NULL;
        const char *reason;
        assert_int_not_equal(token_judge(&forge.config, token, NOW, &grant, &reason), TOKEN_GOOD);
        if (!strstr(reason, rows[i].named))
            fail_msg("%s: %s", rows[i].claims, reason);
    }
}

static void a_revoked_sub_is_refused_from_its_time_on(void **state)
{
    static char all[] = "a\n9223372036854775807", old[] = "ab\n1790000000", other[] = "b\n5";
    static char *sorted[] = { all, old, other };
    static const struct row rows[] = {
        { "{\"sub\":\"a\"," EXP "}", TOKEN_REVOKED },
        { "{\"sub\":\"a\"," EXP ",\"iat\":1790000001}", TOKEN_REVOKED },
        { "{\"sub\":\"\\u0061\"," EXP "}", TOKEN_REVOKED },
        { "{\"sub\":\"ab\"," EXP "}", TOKEN_REVOKED }, /* does not say when it was issued */
        { "{\"sub\":\"ab\"," EXP ",\"iat\":1789999999.9}", TOKEN_REVOKED },
        { "{\"sub\":\"ab\"," EXP ",\"iat\":1790000000}", TOKEN_GOOD },
        { "{\"sub\":\"b\"," EXP ",\"iat\":5}", TOKEN_GOOD },
        { "{\"sub\":\"b\"," EXP ",\"iat\":4}", TOKEN_REVOKED },
        { "{\"sub\":\"A\"," EXP "}", TOKEN_GOOD },
        { "{\"sub\":\"abc\"," EXP "}", TOKEN_GOOD },
        { "{\"sub\":\"c\"," EXP "}", TOKEN_GOOD },
    };

    (void)state;
    forge.config.auth.revoked_subs = (struct config_list){ sorted, 3 };
    CHECK(rows);
}

static void a_revoked_jti_is_refused(void **state)
{
    static char a[] = "aa", b[] = "bb", c[] = "cc";
    static char *sorted[] = { a, b, c };
    static const struct row rows[] = {
        { "{\"sub\":\"a\"," EXP ",\"jti\":\"aa\"}", TOKEN_REVOKED },
        { "{\"sub\":\"a\"," EXP ",\"jti\":\"bb\"}", TOKEN_REVOKED },
        { "{\"sub\":\"a\"," EXP ",\"jti\":\"c\\u0063\"}", TOKEN_REVOKED },
        { "{\"sub\":\"a\"," EXP ",\"jti\":\"ab\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"jti\":\"BB\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"jti\":\"\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP "}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"jti\":12}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"jti\":\"b\\u0000\"}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":1,\"jti\":\"bb\"}", TOKEN_EXPIRED },
    };
    char claims[512];

    (void)state;
    forge.config.auth.revoked = (struct config_list){ sorted, 3 };
    CHECK(rows);
    assert_true(token_revoked(&forge.config, "bb"));
    assert_false(token_revoked(&forge.config, ""));
    snprintf(claims, sizeof claims, "{\"sub\":\"a\"," EXP ",\"jti\":\"%0128d\"}", 1);
    assert_int_equal(claims_verdict(&forge, claims), TOKEN_GOOD);
    snprintf(claims, sizeof claims, "{\"sub\":\"a\"," EXP ",\"jti\":\"%0129d\"}", 1);
    assert_int_equal(claims_verdict(&forge, claims), TOKEN_BAD_CLAIMS);
}

static void po_has_types_and_bounds(void **state)
{
    static const struct row rows[] = {
        { "{\"sub\":\"a\"," EXP ",\"po\":{}}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"later\":[7]}}", TOKEN_GOOD },
        { "{\"sub\":\"a\"," EXP ",\"po\":[]}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":null}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"send\":\"bob\"}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"send\":[7]}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"send\":[\"\"]}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"groups\":{}}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"relay\":[[\"x\"]]}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"admin\":1}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"admin\":\"true\"}}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\"," EXP ",\"po\":{\"broadcast\":null}}", TOKEN_BAD_CLAIMS },
    };
    struct buf claims;

    (void)state;
    CHECK(rows);
    buf_init(&claims, 4096);
    for (size_t count = 255; count <= 257; count++) {
        buf_reset(&claims);
        buf_add_text(&claims, "{\"sub\":\"a\"," EXP ",\"po\":{\"send\":[\"b\"");
        for (size_t i = 1; i < count; i++)
            buf_add_text(&claims, ",\"b\"");
        buf_add_text(&claims, "]}}");
        assert_int_equal(claims_verdict(&forge, buf_text(&claims)),
                         count <= 256 ? TOKEN_GOOD : TOKEN_BAD_CLAIMS);
    }
    buf_fini(&claims);
}

static struct grant *grant_of(const char *claims)
{
    struct grant *grant = NULL;

    assert_int_equal(token_verify(&forge.config, forge_ed25519(&forge, HEADER_E1, slice_of(claims)),
                                  NOW, &grant),
                     TOKEN_GOOD);
    return grant;
}

static void a_token_without_po_sends_to_users_and_nothing_more(void **state)
{
    struct grant *grants[2];

    (void)state;
    grants[0] = grant_of("{\"sub\":\"alice\"," EXP "}");
    grants[1] = grant_default(SLICE("alice"));
    assert_true(grants[0]->expires_at == 1790000060);
    assert_true(grants[1]->expires_at == INT64_MAX);
    for (int i = 0; i < 2; i++) {
        struct grant *grant = grants[i];
        assert_string_equal(grant->sub, "alice");
        assert_string_equal(grant->jti, "");
        assert_int_equal(grant->sub_len, 5);
        assert_int_equal(grant->send.count, 1);
        assert_int_equal(grant->groups.count + grant->relay.count, 0);
        assert_false(grant->broadcast || grant->admin);
        assert_true(grant_may_send_to(grant, SLICE("bob")));
        assert_false(grant_may_send_to(grant, SLICE("#team")));
        assert_false(grant_may_use_group(grant, SLICE("#team")));
        assert_false(grant_may_use_group(grant, SLICE("#all")));
        assert_true(grant_may_speak_for(grant, SLICE("alice")));
        assert_false(grant_may_speak_for(grant, SLICE("alic")));
        assert_false(grant_may_speak_for(grant, SLICE("bob")));
        grant_unref(grant);
    }
}

static void patterns_say_who_and_never_the_reserved(void **state)
{
    struct grant *grant =
        grant_of("{\"sub\":\"bridge\"," EXP ",\"jti\":\"j1\",\"po\":{\"send\":[\"bob\",\"/erp/*\"],"
                 "\"groups\":[\"#team\",\"#x*\",\"*\"],\"relay\":[\"*\"],\"broadcast\":false,"
                 "\"admin\":true}}");

    (void)state;
    assert_string_equal(grant->jti, "j1");
    assert_true(grant->admin);
    assert_string_equal(grant->send.items[1], "/erp/*");
    assert_true(grant_may_send_to(grant, SLICE("bob")));
    assert_false(grant_may_send_to(grant, SLICE("bobby")));
    assert_true(grant_may_send_to(grant, SLICE("/erp/001")));
    assert_false(grant_may_send_to(grant, SLICE("/er")));
    assert_true(grant_may_use_group(grant, SLICE("#team")));
    assert_true(grant_may_use_group(grant, SLICE("#anything")));
    assert_false(grant_may_use_group(grant, SLICE("#all"))); /* broadcast alone opens it */
    assert_false(grant_may_use_group(grant, SLICE("team")));
    assert_true(grant_may_speak_for(grant, SLICE("anyone")));
    assert_false(grant_may_speak_for(grant, SLICE("postmaster")));
    assert_false(grant_may_speak_for(grant, SLICE("$sys")));
    assert_false(grant_may_speak_for(grant, SLICE("#team")));
    assert_false(grant_may_speak_for(grant, SLICE("")));
    grant_unref(grant);

    grant = grant_of("{\"sub\":\"b\"," EXP ",\"po\":{\"send\":[],\"broadcast\":true}}");
    assert_false(grant_may_send_to(grant, SLICE("bob")));
    assert_true(grant_may_use_group(grant, SLICE("#all")));
    assert_false(grant_may_use_group(grant, SLICE("#al")));
    grant_unref(grant);
}

static void a_grant_lives_as_long_as_its_last_holder(void **state)
{
    struct grant *grant = grant_default(SLICE("alice"));

    (void)state;
    assert_ptr_equal(grant_ref(grant), grant);
    grant_unref(grant);
    assert_string_equal(grant->sub, "alice");
    grant_unref(grant);
    grant_unref(NULL);
}

static void a_paseto_has_iso_times(void **state)
{
    static const struct row rows[] = {
        { "{\"sub\":\"a\",\"exp\":\"2026-09-21T14:14:20+00:00\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":\"2026-09-21T14:13:15Z\"}", TOKEN_EXPIRED },
        { "{\"sub\":\"a\",\"exp\":\"2026-09-21T14:13:16Z\"}", TOKEN_GOOD },
        { "{\"sub\":\"a\",\"exp\":1790000060}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":\"\"}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":\"2026-09-21T14:14:20\"}", TOKEN_BAD_CLAIMS },
        { "{\"sub\":\"a\",\"exp\":\"2026-09-21T14:14:20Z\",\"nbf\":\"2026-09-21T14:13:26Z\"}",
          TOKEN_NOT_YET },
        { "{\"sub\":\"a\",\"exp\":\"2026-09-21T14:14:20Z\",\"iat\":\"2026-09-21T14:13:25Z\"}",
          TOKEN_GOOD },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(verdict(&forge, forge_paseto(&forge, rows[i].claims, NULL), NOW),
                         rows[i].fault);
}

static void iso_times_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int64_t unix_s; /* -1: refused */
    } rows[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2022-01-01T00:00:00+00:00", 1640995200 },
        { "2022-01-01T00:00:00-00:00", 1640995200 },
        { "2022-01-01T01:30:00+01:30", 1640995200 },
        { "2021-12-31T19:00:00-05:00", 1640995200 },
        { "2022-01-01T00:00:00.999999999Z", 1640995200 },
        { "2024-02-29T12:00:00Z", 1709208000 },
        { "2000-02-29T00:00:00Z", 951782400 },
        { "2038-01-19T03:14:08Z", 2147483648 },
        { "9999-12-31T23:59:59Z", TOKEN_TIME_MAX },
        { "2023-02-29T12:00:00Z", -1 },
        { "2100-02-29T12:00:00Z", -1 },
        { "1969-12-31T23:59:59Z", -1 },
        { "1970-01-01T00:00:00+00:01", -1 },
        { "2022-13-01T00:00:00Z", -1 },
        { "2022-00-01T00:00:00Z", -1 },
        { "2022-01-00T00:00:00Z", -1 },
        { "2022-01-32T00:00:00Z", -1 },
        { "2022-01-01T24:00:00Z", -1 },
        { "2022-01-01T00:60:00Z", -1 },
        { "2016-12-31T23:59:60Z", -1 },
        { "2022-01-01T00:00:00+24:00", -1 },
        { "2022-01-01T00:00:00+00:60", -1 },
        { "2022-01-01T00:00:00+0000", -1 },
        { "2022-01-01 00:00:00Z", -1 },
        { "2022-01-01t00:00:00z", -1 },
        { "2022-1-1T00:00:00Z", -1 },
        { "22-01-01T00:00:00Z", -1 },
        { "+2022-01-01T00:00:00Z", -1 },
        { "2022-01-01T00:00:00", -1 },
        { "2022-01-01T00:00:00.Z", -1 },
        { "2022-01-01T00:00:00.1234567890Z", -1 },
        { "2022-01-01T00:00:00ZZ", -1 },
        { "2022-01-01T00:00:00Z ", -1 },
        { " 2022-01-01T00:00:00Z", -1 },
        { "2022-01-01T00:00Z", -1 },
        { "1640995200", -1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t unix_s = -1;
        bool good = token_time_parse(slice_of(rows[i].text), &unix_s);
        if (good != (rows[i].unix_s >= 0) || (good && unix_s != rows[i].unix_s))
            fail_msg("%s: %d %lld", rows[i].text, good, (long long)unix_s);
    }
}

static void every_prefix_of_an_iso_time_is_refused(void **state)
{
    const char *text = "2022-01-01T00:00:00.5+00:00";
    int64_t unix_s;

    (void)state;
    for (size_t len = 0; len < strlen(text); len++)
        assert_false(token_time_parse(slice_make(text, len), &unix_s));
    assert_true(token_time_parse(slice_of(text), &unix_s));
}

static void iso_times_written_are_read_back(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 64);
    for (int64_t unix_s = 0; unix_s <= TOKEN_TIME_MAX; unix_s += INT64_C(86399) * 977) {
        int64_t read = -1;
        buf_reset(&text);
        assert_int_equal(token_time_add(&text, unix_s), OK);
        assert_true(token_time_parse(buf_slice(&text), &read));
        assert_true(read == unix_s);
    }
    assert_int_equal(token_time_add(&text, TOKEN_TIME_MAX + 1), ERR_BAD);
    assert_int_equal(token_time_add(&text, -1), ERR_BAD);
    buf_fini(&text);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(claims_are_one_json_object_without_duplicates),
        TEST(sub_must_be_an_address_that_may_speak),
        TEST(times_are_seconds_with_the_leeway),
        TEST(a_token_may_be_unending_only_where_that_is_allowed),
        TEST(audience_and_issuer_count_when_configured),
        TEST(a_revoked_jti_is_refused),
        TEST(a_refusal_names_the_claim),
        TEST(a_revoked_sub_is_refused_from_its_time_on),
        TEST(po_has_types_and_bounds),
        TEST(a_token_without_po_sends_to_users_and_nothing_more),
        TEST(patterns_say_who_and_never_the_reserved),
        TEST(a_grant_lives_as_long_as_its_last_holder),
        TEST(a_paseto_has_iso_times),
        cmocka_unit_test(iso_times_are_read_strictly),
        cmocka_unit_test(every_prefix_of_an_iso_time_is_refused),
        cmocka_unit_test(iso_times_written_are_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
