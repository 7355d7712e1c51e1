/*
 * RS256, PS256 and ES256: published vectors of signatures, of tokens and of JWK Sets, and the ways
 * in which a token could try to choose its own key or algorithm.
 */
#include "tests/unit/jwks_fixture.h"

#include "worker/token/token_public.h"

static struct config_report report;
static struct buf set, token;
static EVP_PKEY *rsa_key;

static int setup(void **state)
{
    (void)state;
    config_report_init(&report);
    buf_init(&set, 1 << 20);
    buf_init(&token, 1 << 16);
    if (token_init())
        return -1;
    rsa_key = rsa_load();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    config_report_fini(&report);
    buf_fini(&set);
    buf_fini(&token);
    EVP_PKEY_free(rsa_key);
    return 0;
}

/* ---- published vectors ---- */

static size_t unhex(const char *hex, uint8_t *out, size_t size)
{
    size_t len = 0;

    if (strcmp(hex, "-") != 0)
        assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

/* A signature that is only "acceptable" may be taken or not; it must not be taken here. */
static void check_signatures(const char *name, int expected_count)
{
    FILE *file = vectors(name);
    struct vector_line line = { 0 };
    struct config *config = NULL;
    int count = 0;

    while (vector_next(file, &line)) {
        uint8_t message[1024], signature[1024];
        size_t message_len, signature_len;
        enum token_public verdict;
        if (strcmp(line.words[0], "set") == 0) {
            config_free(config);
            config = config_of_set(slice_of(line.words[1]), true, &report);
            assert_int_equal(config->auth.jwks.count, 1);
            continue;
        }
        message_len = unhex(line.words[3], message, sizeof message);
        signature_len = unhex(line.words[4], signature, sizeof signature);
        verdict = token_public_verify(&config->auth.jwks.keys[0], slice_make(message, message_len),
                                      slice_make(signature, signature_len));
        if ((verdict == TOKEN_PUBLIC_GOOD) != (strcmp(line.words[2], "valid") == 0) ||
            (verdict != TOKEN_PUBLIC_GOOD && verdict != TOKEN_PUBLIC_BAD))
            fail_msg("%s: %s (%s, %s): verdict %d", name, line.words[0], line.words[1],
                     line.words[2], (int)verdict);
        count++;
    }
    assert_int_equal(count, expected_count);
    config_free(config);
    fclose(file);
}

static void rs256_signatures_are_judged_as_published(void **state)
{
    (void)state;
    check_signatures("wycheproof_rsa.txt", 259);
}

static void ps256_signatures_are_judged_as_published(void **state)
{
    (void)state;
    check_signatures("wycheproof_rsa_pss.txt", 108);
}

static void es256_signatures_are_judged_as_published(void **state)
{
    (void)state;
    check_signatures("wycheproof_ecdsa.txt", 262);
}

/* Tokens of these files are no tokens of ours: what is held is that the signature counts. */
static void check_tokens(const char *name, int expected_count)
{
    FILE *file = vectors(name);
    struct vector_line line = { 0 };
    struct config *config = NULL;
    int count = 0;

    while (vector_next(file, &line)) {
        struct token_opened opened;
        enum token_fault fault;
        if (strcmp(line.words[0], "set") == 0) {
            config_free(config);
            config = config_of_set(slice_of(line.words[1]), true, &report);
            if (report.errors.len) {
                config_free(config);
                config = config_of_set(SLICE("{\"keys\":[]}"), true, &report);
            }
            continue;
        }
        fault = TOKEN_ABSENT;
        if (strcmp(line.words[3], "-") != 0)
            fault = token_jwt_open(config, slice_of(line.words[3]), NOW, &opened);
        if ((fault == TOKEN_GOOD) != (strcmp(line.words[2], "valid") == 0))
            fail_msg("%s: %s (%s, %s): %s", name, line.words[0], line.words[1], line.words[2],
                     token_fault_text(fault));
        count++;
    }
    assert_int_equal(count, expected_count);
    config_free(config);
    fclose(file);
}

static void tokens_are_judged_as_published(void **state)
{
    (void)state;
    check_tokens("wycheproof_jws.txt", 147);
}

static void tokens_of_sets_are_judged_as_published(void **state)
{
    (void)state;
    check_tokens("wycheproof_jwk.txt", 17);
}

/* ---- which key, which algorithm ---- */

static void set_begin(void)
{
    buf_reset(&set);
    buf_add_text(&set, "{\"keys\":[");
}

static struct config *set_end(void)
{
    struct config *config;

    buf_add_text(&set, "]}");
    config = config_of_set(buf_slice(&set), true, &report);
    if (report.errors.len)
        fail_msg("%s", buf_text(&report.errors));
    return config;
}

static enum token_fault judged(const struct config *config, EVP_PKEY *pkey, bool pss,
                               const char *header)
{
    struct grant *grant = NULL;
    enum token_fault fault =
        token_verify(config, sign_jwt(&token, pkey, pss, header, CLAIMS), NOW, &grant);

    grant_unref(grant);
    return fault;
}

static void the_key_says_which_algorithm_the_token_has(void **state)
{
    EVP_PKEY *rsa = rsa_key, *ec = EVP_EC_gen("P-256");
    struct config *config;

    (void)state;
    set_begin();
    add_jwk(&set, rsa, ",\"kid\":\"plain\"");
    add_jwk(&set, rsa, ",\"kid\":\"pss\",\"alg\":\"PS256\",\"use\":\"sig\"");
    add_jwk(&set, ec, ",\"kid\":\"ec\",\"key_ops\":[\"verify\"]");
    config = set_end();
    assert_int_equal(config->auth.jwks.count, 3);
    assert_int_equal(judged(config, rsa, false, "{\"alg\":\"RS256\",\"kid\":\"plain\"}"),
                     TOKEN_GOOD);
    assert_int_equal(judged(config, rsa, true, "{\"alg\":\"PS256\",\"kid\":\"pss\"}"), TOKEN_GOOD);
    assert_int_equal(judged(config, ec, false, "{\"alg\":\"ES256\",\"kid\":\"ec\"}"), TOKEN_GOOD);
    assert_int_equal(judged(config, rsa, true, "{\"alg\":\"PS256\",\"kid\":\"plain\"}"),
                     TOKEN_BAD_ALGORITHM);
    assert_int_equal(judged(config, rsa, false, "{\"alg\":\"RS256\",\"kid\":\"pss\"}"),
                     TOKEN_BAD_ALGORITHM);
    assert_int_equal(judged(config, rsa, true, "{\"alg\":\"RS256\",\"kid\":\"plain\"}"),
                     TOKEN_BAD_SIGNATURE);
    assert_int_equal(judged(config, ec, false, "{\"alg\":\"RS256\",\"kid\":\"ec\"}"),
                     TOKEN_BAD_ALGORITHM);
    assert_int_equal(judged(config, rsa, false, "{\"alg\":\"RS256\",\"kid\":\"\"}"),
                     TOKEN_UNKNOWN_KEY);
    assert_int_equal(judged(config, rsa, false, "{\"alg\":\"RS256\",\"kid\":\"other\"}"),
                     TOKEN_UNKNOWN_KEY);
    config_free(config);
    EVP_PKEY_free(ec);
}

/* The attack: everybody knows a public key, so everybody could make an HMAC with it. */
static void a_public_key_is_never_a_secret(void **state)
{
    static const char *const headers[] = { "{\"alg\":\"HS256\",\"kid\":\"plain\"}",
                                           "{\"alg\":\"HS256\"}" };
    const struct config_key *key;
    struct config *config;
    struct forge forge;

    (void)state;
    forge_init(&forge);
    set_begin();
    add_jwk(&set, rsa_key, ",\"kid\":\"plain\"");
    config = set_end();
    assert_int_equal(config->auth.jwks.count, 1);
    key = &config->auth.jwks.keys[0];
    for (size_t i = 0; i < 2; i++) {
        const struct {
            const uint8_t *bytes;
            size_t len;
        } secrets[] = { { key->bytes, key->len },
                        { key->bytes + CONFIG_RSA_E_BYTES, key->len - CONFIG_RSA_E_BYTES },
                        { (const uint8_t *)set.data, set.len } };
        for (size_t j = 0; j < 3; j++) {
            struct grant *grant = NULL;
            enum token_fault fault = token_verify(
                config,
                forge_hmac(&forge, headers[i], SLICE(CLAIMS), secrets[j].bytes, secrets[j].len),
                NOW, &grant);
            assert_int_equal(fault, i ? TOKEN_UNKNOWN_KEY : TOKEN_BAD_ALGORITHM);
            assert_null(grant);
        }
    }
    config_free(config);
    forge_fini(&forge);
}

static void without_kid_a_few_keys_of_the_kind_are_tried(void **state)
{
    EVP_PKEY *keys[TOKEN_KEYS_TRIED_MAX + 1];
    struct config *config;

    (void)state;
    for (size_t i = 0; i < TOKEN_KEYS_TRIED_MAX + 1; i++)
        keys[i] = EVP_EC_gen("P-256");
    set_begin();
    for (size_t i = 0; i < TOKEN_KEYS_TRIED_MAX; i++)
        add_jwk(&set, keys[i], "");
    add_jwk(&set, rsa_key, "");
    config = set_end();
    for (size_t i = 0; i < TOKEN_KEYS_TRIED_MAX + 1; i++)
        assert_int_equal(judged(config, keys[i], false, "{\"alg\":\"ES256\"}"),
                         i < TOKEN_KEYS_TRIED_MAX ? TOKEN_GOOD : TOKEN_BAD_SIGNATURE);
    assert_int_equal(judged(config, rsa_key, false, "{\"alg\":\"RS256\"}"), TOKEN_GOOD);
    config_free(config);
    set_begin();
    for (size_t i = 0; i < TOKEN_KEYS_TRIED_MAX + 1; i++)
        add_jwk(&set, keys[i], "");
    config = set_end();
    assert_int_equal(judged(config, keys[0], false, "{\"alg\":\"ES256\"}"), TOKEN_UNKNOWN_KEY);
    config_free(config);
    for (size_t i = 0; i < TOKEN_KEYS_TRIED_MAX + 1; i++)
        EVP_PKEY_free(keys[i]);
}

/* A PASETO is signed over another text; a JWK of EdDSA is a key for JWTs. */
static void a_key_of_the_set_verifies_no_paseto(void **state)
{
    struct config *config;
    struct forge forge;
    struct grant *grant = NULL;
    const char *claims =
        "{\"sub\":\"alice\",\"exp\":\"2030-01-01T00:00:00Z\",\"iat\":\"2020-01-01T00:00:00Z\"}";

    (void)state;
    forge_init(&forge);
    set_begin();
    buf_add_text(&set, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"e1\",\"x\":\"");
    token_base64url_add(&set, forge.public_key, 32);
    buf_add_text(&set, "\"}");
    config = set_end();
    assert_int_equal(
        token_verify(config, forge_ed25519(&forge, HEADER_E1, SLICE(CLAIMS)), NOW, &grant),
        TOKEN_GOOD);
    grant_unref(grant);
    assert_int_equal(
        token_verify(config, forge_paseto(&forge, claims, "{\"kid\":\"e1\"}"), NOW, &grant),
        TOKEN_UNKNOWN_KEY);
    assert_int_equal(token_verify(config, forge_paseto(&forge, claims, NULL), NOW, &grant),
                     TOKEN_UNKNOWN_KEY);
    config_free(config);
    forge_fini(&forge);
}

static void a_point_off_the_curve_is_named(void **state)
{
    struct config *config;
    char why[256] = "";

    (void)state;
    set_begin();
    add_jwk(&set, rsa_key, ",\"kid\":\"good\"");
    config = set_end();
    assert_true(token_keys_good(config, why, sizeof why));
    config_free(config);
    config = config_of_set(SLICE("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"off\","
                                 "\"x\":\"04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY\","
                                 "\"y\":\"UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgnw\"}]}"),
                           true, &report);
    assert_int_equal(config->auth.jwks.count, 1);
    assert_false(token_keys_good(config, why, sizeof why));
    assert_non_null(strstr(why, "off"));
    config_free(config);
}

/* More keys than are kept parsed: each still verifies its own tokens. */
static void many_keys_take_turns(void **state)
{
    enum { KEYS = 40 };
    EVP_PKEY *keys[KEYS];
    struct config *config;
    char text[64];

    (void)state;
    set_begin();
    for (size_t i = 0; i < KEYS; i++) {
        keys[i] = EVP_EC_gen("P-256");
        snprintf(text, sizeof text, ",\"kid\":\"k%zu\"", i);
        add_jwk(&set, keys[i], text);
    }
    config = set_end();
    for (size_t i = 0; i < 3 * (size_t)KEYS; i++) {
        snprintf(text, sizeof text, "{\"alg\":\"ES256\",\"kid\":\"k%zu\"}", i * 7 % KEYS);
        assert_int_equal(judged(config, keys[i * 7 % KEYS], false, text), TOKEN_GOOD);
        assert_int_equal(judged(config, keys[(i + 1) * 7 % KEYS], false, text),
                         TOKEN_BAD_SIGNATURE);
    }
    config_free(config);
    for (size_t i = 0; i < KEYS; i++)
        EVP_PKEY_free(keys[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rs256_signatures_are_judged_as_published),
        cmocka_unit_test(ps256_signatures_are_judged_as_published),
        cmocka_unit_test(es256_signatures_are_judged_as_published),
        cmocka_unit_test(tokens_are_judged_as_published),
        cmocka_unit_test(tokens_of_sets_are_judged_as_published),
        cmocka_unit_test(the_key_says_which_algorithm_the_token_has),
        cmocka_unit_test(a_public_key_is_never_a_secret),
        cmocka_unit_test(without_kid_a_few_keys_of_the_kind_are_tried),
        cmocka_unit_test(a_key_of_the_set_verifies_no_paseto),
        cmocka_unit_test(a_point_off_the_curve_is_named),
        cmocka_unit_test(many_keys_take_turns),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
