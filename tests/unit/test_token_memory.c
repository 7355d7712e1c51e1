/* What a worker remembers of good tokens: no longer than the token lasts, and nothing across a new
 * configuration. */
#include "tests/unit/jwks_fixture.h"

#include "worker/token/token_memory.h"

static struct forge forge;
static struct token_memory *memory;

static int setup(void **state)
{
    (void)state;
    forge_init(&forge);
    forge.config.auth.remembered = 64;
    memory = token_memory_new();
    assert_non_null(memory);
    token_memory_configure(memory, &forge.config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    token_memory_free(memory);
    forge_fini(&forge);
    return 0;
}

/* Judges, drops the grant, and says whether the token was remembered. */
static enum token_fault judged(struct slice token, int64_t now_s, bool *remembered)
{
    struct grant *grant = NULL;
    const char *reason;
    enum token_fault fault =
        token_memory_judge(memory, &forge.config, token, now_s, &grant, &reason, remembered);

    assert_int_equal(fault == TOKEN_GOOD, grant != NULL);
    assert_non_null(reason);
    if (grant)
        assert_string_equal(grant->sub, "alice");
    grant_unref(grant);
    return fault;
}

static struct slice good_token(void)
{
    return forge_ed25519(&forge, HEADER_E1, SLICE(CLAIMS));
}

static void a_remembered_token_that_the_table_revokes_is_refused_and_good_again_later(void **state)
{
    struct revocations *table = revocations_new(false);
    struct revocation_news news = { .until = NOW + 10,
                                    .before = INT64_MAX,
                                    .what = SLICE("sub:alice") };
    struct slice token = good_token();
    bool remembered;

    (void)state;
    assert_non_null(table);
    token_memory_watch(memory, table);
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
    assert_int_equal(revocations_put(table, &news, NULL), OK);
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_REVOKED);
    assert_false(remembered);
    assert_int_equal(judged(token, NOW + 10, &remembered), TOKEN_GOOD);
    assert_true(remembered);
    token_memory_watch(memory, NULL);
    revocations_free(table);
}

static void a_good_token_is_verified_once(void **state)
{
    struct slice token = good_token();
    bool remembered;

    (void)state;
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
    assert_false(remembered);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(judged(token, NOW + i, &remembered), TOKEN_GOOD);
        assert_true(remembered);
    }
}

static void a_token_that_differs_is_another_one(void **state)
{
    struct slice token = good_token();
    bool remembered;

    (void)state;
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
    for (size_t i = 0; i < token.len; i++) {
        forge.token.data[i] ^= 1;
        assert_int_not_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
        assert_false(remembered);
        forge.token.data[i] ^= 1;
    }
    assert_int_not_equal(judged(slice_make(token.data, token.len - 1), NOW, &remembered),
                         TOKEN_GOOD);
    assert_int_equal(judged((struct slice){ "", 0 }, NOW, &remembered), TOKEN_ABSENT);
}

static void a_remembered_token_ends_when_its_time_has_come(void **state)
{
    struct slice token = good_token(); /* until NOW + 60, with a leeway of 5 */
    bool remembered;

    (void)state;
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
    assert_int_equal(judged(token, NOW + 64, &remembered), TOKEN_GOOD);
    assert_true(remembered);
    assert_int_equal(judged(token, NOW + 65, &remembered), TOKEN_EXPIRED);
    assert_false(remembered);
}

static void a_clock_that_goes_back_judges_anew(void **state)
{
    struct slice token = forge_ed25519(
        &forge, HEADER_E1, SLICE("{\"sub\":\"alice\",\"exp\":1790000060,\"nbf\":1790000000}"));
    bool remembered;

    (void)state;
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
    assert_int_equal(judged(token, NOW - 60, &remembered), TOKEN_NOT_YET);
    assert_false(remembered);
}

static void a_key_that_ends_ends_what_it_verified(void **state)
{
    struct slice token = good_token();
    bool remembered;

    (void)state;
    forge.keys[0].not_after = NOW + 10;
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
    assert_int_equal(judged(token, NOW + 10, &remembered), TOKEN_GOOD);
    assert_true(remembered);
    assert_int_equal(judged(token, NOW + 11, &remembered), TOKEN_UNKNOWN_KEY);
}

static void a_revoked_token_is_refused_though_remembered(void **state)
{
    struct slice token = forge_ed25519(
        &forge, HEADER_E1, SLICE("{\"sub\":\"alice\",\"exp\":1790000060,\"jti\":\"j1\"}"));
    char jti[] = "j1", *jtis[] = { jti };
    bool remembered;

    (void)state;
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
    forge.config.auth.revoked = (struct config_list){ jtis, 1 };
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_REVOKED);
    assert_false(remembered);
}

static void a_new_configuration_forgets_everything(void **state)
{
    struct slice token = good_token();
    bool remembered;

    (void)state;
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
    forge.config.auth.key_count = 0;
    token_memory_configure(memory, &forge.config);
    assert_int_equal(judged(token, NOW, &remembered), TOKEN_UNKNOWN_KEY);
}

static void a_secret_costs_less_than_remembering(void **state)
{
    struct slice token = forge_hmac(&forge, HEADER_H1, SLICE(CLAIMS), forge.secret, 48);
    bool remembered;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
        assert_false(remembered);
    }
}

static void nothing_is_remembered_when_switched_off(void **state)
{
    struct slice token = good_token();
    bool remembered;

    (void)state;
    forge.config.auth.remembered = 0;
    token_memory_configure(memory, &forge.config);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(judged(token, NOW, &remembered), TOKEN_GOOD);
        assert_false(remembered);
    }
}

/* Of many more tokens than there is room for, each is judged right, and no more than the bound are
 * remembered. */
static void the_bound_holds_under_many_tokens(void **state)
{
    struct buf tokens[300];
    bool remembered;
    int known = 0;

    (void)state;
    for (int i = 0; i < 300; i++) {
        char claims[96];
        snprintf(claims, sizeof claims, "{\"sub\":\"alice\",\"exp\":%d}", 1790000060 + i);
        buf_init(&tokens[i], 4096);
        buf_add_slice(&tokens[i], forge_ed25519(&forge, HEADER_E1, slice_of(claims)));
        assert_int_equal(judged(buf_slice(&tokens[i]), NOW, &remembered), TOKEN_GOOD);
        assert_false(remembered);
    }
    for (int i = 299; i >= 0; i--) {
        assert_int_equal(judged(buf_slice(&tokens[i]), NOW, &remembered), TOKEN_GOOD);
        known += remembered;
        buf_fini(&tokens[i]);
    }
    assert_in_range(known, 1, 64);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_remembered_token_that_the_table_revokes_is_refused_and_good_again_later),
        TEST(a_good_token_is_verified_once),
        TEST(a_token_that_differs_is_another_one),
        TEST(a_remembered_token_ends_when_its_time_has_come),
        TEST(a_clock_that_goes_back_judges_anew),
        TEST(a_key_that_ends_ends_what_it_verified),
        TEST(a_revoked_token_is_refused_though_remembered),
        TEST(a_new_configuration_forgets_everything),
        TEST(a_secret_costs_less_than_remembering),
        TEST(nothing_is_remembered_when_switched_off),
        TEST(the_bound_holds_under_many_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
