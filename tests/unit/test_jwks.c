/* auth.jwks: which keys of a JWK Set count, which are left out with a warning, which sets are
 * refused as a whole; and the file, read again. */
#include "config_fixture.h"

#include "common/base64.h"
#include "config/changes.h"
#include "config/keys.h"
#include "config/parts.h"

/* 2,048 bits, and e. */
#define N2048                                                                                      \
    "kqGboBfAWttWPCA-0cGRgsY6SaYoIARt0B_PkaEcIq9HPYNdu9n6UuWHuuTHrjF_"                             \
    "ZoQW97r5HaAorNvrMEGTGdxCHZdEt"                                                                \
    "kHvNVVmrtxTBLiQCbCozXhFoIrVcr3qUBrdGnNn_M3jJi7Wg7p_-x62nS5gNG875oyheRkutHsQXikFZwsN3q_"       \
    "TsPNOVlCiHy8mxzaFTUQGm-X8UYexFyAivlDSjgDJLAZSWfxd7k9Gxuwa3AUfQqQcVcegmgKGCaErQ3qQbh1x7WB6iop" \
    "E3_-GZ8HMAVtR9AmrVscqYsnjhaCehfAI0iKKs8zXr8tISc0ORbaalrkk03H1ZrsEnDKEWQ"
#define RSA_KEY "\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" N2048 "\""
#define EC_KEY                                                                                     \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY\","      \
    "\"y\":\"UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgmw\""
#define OKP_KEY                                                                                    \
    "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
#define OCT_KEY "\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\""
/* A key beside the one of a row, so that the set has one. */
#define OTHER "{" OKP_KEY ",\"kid\":\"other\"}"

#define CONFIG                                                                                     \
    "{\"auth\":{\"keyDir\":\"\",\"jwks\":\"set.json\",\"audience\":\"a\",\"issuer\":\"i\"}}"

static void write_set(const char *text)
{
    write_file("set.json", text, strlen(text), 0644);
}

static struct config *load_set(const char *text)
{
    write_set(text);
    return load_good(CONFIG);
}

static void refused_set(const char *text, const char *why)
{
    write_set(text);
    refused(CONFIG, why);
    assert_has(errors(), "auth.jwks");
    assert_has(errors(), "set.json");
}

static void keys_that_verify_are_taken(void **state)
{
    static const struct {
        const char *key;
        enum config_kty kty;
        size_t len;
    } rows[] = {
        { "{" RSA_KEY "}", CONFIG_KTY_RS256, 260 },
        { "{" RSA_KEY ",\"alg\":\"RS256\",\"use\":\"sig\"}", CONFIG_KTY_RS256, 260 },
        { "{" RSA_KEY ",\"alg\":\"PS256\",\"key_ops\":[\"verify\"]}", CONFIG_KTY_PS256, 260 },
        { "{" RSA_KEY ",\"x5c\":[\"MIIB\"],\"x5t\":\"abc\",\"exp\":1.5e9,\"y2\":null}",
          CONFIG_KTY_RS256, 260 },
        { "{\"kty\":\"RSA\",\"e\":\"Aw\",\"n\":\"" N2048 "\"}", CONFIG_KTY_RS256, 260 },
        /* some writers put a zero in front: 0x00 0x01 0x00 0x01 */
        { "{\"kty\":\"RSA\",\"e\":\"AAEAAQ\",\"n\":\"" N2048 "\"}", CONFIG_KTY_RS256, 260 },
        { "{" EC_KEY "}", CONFIG_KTY_ES256, 64 },
        { "{" EC_KEY ",\"alg\":\"ES256\",\"use\":\"sig\",\"key_ops\":[\"sign\",\"verify\"]}",
          CONFIG_KTY_ES256, 64 },
        { "{" OKP_KEY ",\"alg\":\"EdDSA\"}", CONFIG_KTY_ED25519, 32 },
        { "{\"\\u006bty\":\"OKP\",\"crv\":\"Ed25519\","
          "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
          CONFIG_KTY_ED25519, 32 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[2048];
        struct config *config;
        snprintf(text, sizeof text, "{\"keys\":[%s],\"more\":{}}", rows[i].key);
        config = load_set(text);
        assert_int_equal(config->auth.jwks.count, 1);
        assert_int_equal(config->auth.jwks.keys[0].kty, rows[i].kty);
        assert_int_equal(config->auth.jwks.keys[0].len, rows[i].len);
        assert_string_equal(config->auth.jwks.keys[0].kid, "");
        assert_true(config->auth.jwks.keys[0].not_after == INT64_MAX);
        assert_lacks(notes(), "left out");
        config_free(config);
    }
}

static void keys_of_no_use_are_left_out(void **state)
{
    static const struct {
        const char *key;
        const char *warned; /* NULL: nothing to say about */
    } rows[] = {
        { "{" RSA_KEY ",\"use\":\"enc\"}", NULL },
        { "{" EC_KEY ",\"key_ops\":[\"deriveKey\"]}", NULL },
        { "{" EC_KEY ",\"use\":\"sig\",\"key_ops\":[]}", NULL },
        { "{\"kid\":\"k\"}", "kty" },
        { "{\"kty\":\"AKP\",\"kid\":\"k\"}", "kty" },
        { "{\"kty\":\"rsa\",\"n\":\"AQAB\"}", "kty" },
        { "{\"kty\":7}", "must be text" },
        { "{" RSA_KEY ",\"kid\":7}", "must be text" },
        { "{" EC_KEY ",\"key_ops\":\"verify\"}", "must be text, or a list" },
        { "{" RSA_KEY ",\"alg\":\"RS512\"}", "RS256 and PS256" },
        { "{" RSA_KEY ",\"alg\":\"HS256\"}", "RS256 and PS256" },
        { "{" EC_KEY ",\"alg\":\"RS256\"}", "ES256" },
        { "{" OKP_KEY ",\"alg\":\"ES256\"}", "EdDSA" },
        { "{" OCT_KEY ",\"alg\":\"RS256\"}", "HS256" },
        { "{\"kty\":\"EC\",\"crv\":\"P-384\"}", "P-256" },
        { "{\"kty\":\"EC\",\"crv\":\"P-256\"}", "32 bytes" },
        { "{\"kty\":\"OKP\",\"crv\":\"X25519\"}", "Ed25519" },
        { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAB\"}", "32 bytes" },
        { "{\"kty\":\"RSA\",\"e\":\"AQAB\"}", "n is no number" },
        { "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" N2048 "=\"}", "n is no number" },
        { "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"+/AB\"}", "n is no number" },
        { "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"AAAA\"}", "n is no number" },
        { "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"AQAB\"}", "2048 to 8192" },
        { "{\"kty\":\"RSA\",\"n\":\"" N2048 "\"}", "e is no number" },
        { "{\"kty\":\"RSA\",\"e\":\"AQ\",\"n\":\"" N2048 "\"}", "odd number" },
        { "{\"kty\":\"RSA\",\"e\":\"Ag\",\"n\":\"" N2048 "\"}", "odd number" },
        { "{\"kty\":\"RSA\",\"e\":\"AQAAAAE\",\"n\":\"" N2048 "\"}", "odd number" },
        { "{" OKP_KEY ",\"kid\":\"a\\nb\"}", "control characters" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[2048];
        struct config *config;
        snprintf(text, sizeof text, "{\"keys\":[%s," OTHER "]}", rows[i].key);
        config = load_set(text);
        assert_int_equal(config->auth.jwks.count, 1);
        assert_string_equal(config->auth.jwks.keys[0].kid, "other");
        if (rows[i].warned) {
            assert_has(notes(), "key 1");
            assert_has(notes(), rows[i].warned);
        } else {
            assert_lacks(notes(), "auth.jwks");
        }
        config_free(config);
    }
}

static void rsa_keys_have_a_least_and_a_greatest_size(void **state)
{
    static const struct {
        size_t bits;
        bool taken;
    } rows[] = { { 1024, false }, { 2047, false }, { 2048, true },  { 3072, true },
                 { 8192, true },  { 8193, false }, { 16384, false } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[2048] = { 0 };
        size_t len = (rows[i].bits + 7) / 8, chars;
        char n[4096], text[8192];
        struct config *config;
        bytes[0] = (uint8_t)(1u << (rows[i].bits - 1) % 8);
        bytes[len - 1] |= 1;
        chars = base64_encode(n, bytes, len);
        n[chars] = 0;
        n[strcspn(n, "=")] = 0; /* neither + nor / comes of these bytes */
        snprintf(text, sizeof text,
                 "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"%s\"}," OTHER "]}", n);
        config = load_set(text);
        assert_int_equal(config->auth.jwks.count, 1 + rows[i].taken);
        config_free(config);
    }
}

static void sets_with_a_fault_are_refused_as_a_whole(void **state)
{
    (void)state;
    refused_set("", "is no JSON");
    refused_set("{\"keys\":[" OTHER "]", "is no JSON (line 1");
    refused_set("{\n\"keys\":\n[}", "line 3");
    refused_set("{\"keys\":[" OTHER "]} x", "is no JSON");
    refused_set("{\"keys\":[" OTHER "],\"keys\":[]}", "is no JSON");
    refused_set("{\"keys\":[{" OKP_KEY ",\"kty\":\"RSA\"}]}", "is no JSON");
    refused_set("\xff", "UTF-8");
    refused_set("[" OTHER "]", "no JSON object");
    refused_set(OTHER, "without a list");
    refused_set("{\"keys\":{}}", "without a list");
    refused_set("{\"keys\":[]}", "at least one");
    refused_set("{\"keys\":[{\"kty\":\"x\"}]}", "at least one");
    refused_set("{\"keys\":[" OTHER ",7]}", "key 2");
    refused_set("{\"keys\":[" OTHER "," OTHER "]}", "\"other\" twice");
}

static void a_private_key_is_no_business_of_a_server(void **state)
{
    static const char *const members[] = { "d", "p", "q", "dp", "dq", "qi", "oth" };

    (void)state;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"keys\":[" OTHER ",{" OKP_KEY ",\"%s\":\"sesame\"}]}",
                 members[i]);
        refused_set(text, "private part");
        assert_has(errors(), "key 2");
        assert_lacks(errors(), "sesame");
    }
    refused_set("{\"keys\":[" OTHER ",{" EC_KEY ",\"use\":\"enc\",\"d\":\"sesame\"}]}",
                "private part");
}

static void secrets_are_for_the_owner_alone(void **state)
{
    const char *set = "{\"keys\":[{" OCT_KEY ",\"kid\":\"s\"}]}";
    struct config *config;

    (void)state;
    refused_set(set, "chmod 600");
    assert_lacks(errors(), "AAECAw");
    write_file("set.json", set, strlen(set), 0600);
    config = load_good(CONFIG);
    assert_int_equal(config->auth.jwks.count, 1);
    assert_int_equal(config->auth.jwks.keys[0].kty, CONFIG_KTY_HMAC);
    assert_int_equal(config->auth.jwks.keys[0].bytes[31], 0x1f);
    config_free(config);
    set =
        "{\"keys\":[" OTHER ",{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\"}"
        "]}";
    config = load_set(set); /* a secret that is too short */
    assert_int_equal(config->auth.jwks.count, 1);
    assert_has(notes(), "32 to 512 bytes");
    assert_lacks(notes(), "AAECAw");
    config_free(config);
}

static void a_set_is_bounded(void **state)
{
    char *text = malloc(1 << 20);
    struct config *config;
    size_t len;

    (void)state;
    for (int count = 100; count <= 101; count++) {
        len = (size_t)snprintf(text, 1 << 20, "{\"keys\":[");
        for (int i = 0; i < count; i++)
            len += (size_t)snprintf(text + len, (1 << 20) - len, "%s{" OKP_KEY ",\"kid\":\"k%d\"}",
                                    i ? "," : "", i);
        snprintf(text + len, (1 << 20) - len, "]}");
        if (count == 100) {
            config = load_set(text);
            assert_int_equal(config->auth.jwks.count, 100);
            config_free(config);
        } else {
            refused_set(text, "101 keys");
        }
    }
    memset(text, ' ', 300 << 10);
    snprintf(text + (300 << 10), 64, "{\"keys\":[");
    refused_set(text, "too large");
    free(text);
}

static void the_file_must_be_there_and_guarded(void **state)
{
    const char *set = "{\"keys\":[" OTHER "]}";

    (void)state;
    refused(CONFIG, "unreadable");
    make_folder("set.json");
    refused(CONFIG, "a directory");
    refused("{\"auth\":{\"jwks\":\"other.json\"}}", "other.json");
    write_file("open.json", set, strlen(set), 0666);
    refused("{\"auth\":{\"jwks\":\"open.json\"}}", "chmod go-w");
}

static void a_key_of_our_own_is_not_replaced(void **state)
{
    struct config *config;

    (void)state;
    make_folder("keys");
    write_text("keys/other.pub", B32 "\n");
    write_set("{\"keys\":[" OTHER ",{" EC_KEY ",\"kid\":\"mine\"}]}");
    config = load_good("{\"auth\":{\"jwks\":\"set.json\"}}");
    assert_int_equal(config->auth.key_count, 1);
    assert_int_equal(config->auth.jwks.count, 1);
    assert_string_equal(config->auth.jwks.keys[0].kid, "mine");
    assert_has(notes(), "\"other\"");
    assert_has(warnings(), "auth.audience");
    assert_has(warnings(), "auth.issuer");
    config_free(config);
}

static void a_set_is_packed_compared_and_copied(void **state)
{
    struct config *config =
        load_set("{\"keys\":[{" RSA_KEY ",\"kid\":\"http://idp/k=+/\"},{" EC_KEY "}," OTHER "]}");
    struct config *back, *fewer;
    struct config_change change;
    struct buf packed;

    (void)state;
    buf_init(&packed, 1 << 20);
    assert_int_equal(config_pack(config, &packed), OK);
    back = config_unpack(buf_slice(&packed));
    assert_non_null(back);
    assert_int_equal(config_diff(config, back, &change, 1), 0);
    assert_int_equal(back->auth.jwks.count, 3);
    assert_string_equal(back->auth.jwks.keys[0].kid, "http://idp/k=+/");
    assert_memory_equal(back->auth.jwks.keys[0].bytes, config->auth.jwks.keys[0].bytes, 260);
    assert_true(back->auth.jwks_stamp == config->auth.jwks_stamp);
    fewer = load_set("{\"keys\":[" OTHER "]}");
    assert_int_equal(config_diff(config, fewer, &change, 1), 1);
    assert_string_equal(change.key, "auth.jwks");
    assert_int_equal(change.apply, CONFIG_LIVE);
    buf_fini(&packed);
    config_free(fewer);
    config_free(back);
    config_free(config);
}

static void the_set_alone_is_read_again(void **state)
{
    struct config *config = load_set("{\"keys\":[" OTHER "]}"), *fresh;
    int64_t stamp = config->auth.jwks_stamp;

    (void)state;
    assert_true(stamp != 0 && config_jwks_stamp(config) == stamp);
    write_set("{\"keys\":[{" EC_KEY ",\"kid\":\"new\"}]}   ");
    assert_true(config_jwks_stamp(config) != stamp);
    fresh = config_with_jwks(config, &report);
    assert_non_null(fresh);
    assert_int_equal(fresh->auth.jwks.count, 1);
    assert_string_equal(fresh->auth.jwks.keys[0].kid, "new");
    assert_true(fresh->auth.jwks_stamp == config_jwks_stamp(config));
    assert_string_equal(fresh->auth.audience, "a");
    config_free(fresh);
    write_set("{\"keys\":[");
    assert_null(config_with_jwks(config, &report));
    assert_has(errors(), "is no JSON");
    assert_string_equal(config->auth.jwks.keys[0].kid, "other");
    config_free(config);
}

static void claims_have_names_and_the_default_grant_has_patterns(void **state)
{
    struct config *config;

    (void)state;
    config = load_good("{}");
    assert_string_equal(config->auth.claim_address, "sub");
    assert_string_equal(config->auth.claim_rights, "po");
    assert_int_equal(config->auth.default_grant.send.count, 1);
    assert_string_equal(config->auth.default_grant.send.items[0], "*");
    config_free(config);
    config =
        load_good("{\"auth\":{\"claims\":{\"address\":\"preferred_username\",\"rights\":"
                  "\"https://example.com/po\"},\"defaultGrant\":{\"send\":[],\"groups\":[\"#a*\","
                  "\"*\"],\"relay\":[\"bot-*\"],\"broadcast\":true}}}");
    assert_string_equal(config->auth.claim_rights, "https://example.com/po");
    assert_int_equal(config->auth.default_grant.send.count, 0);
    assert_int_equal(config->auth.default_grant.groups.count, 2);
    assert_true(config->auth.default_grant.broadcast);
    config_free(config);
    refused("{\"auth\":{\"claims\":{\"address\":\"\"}}}", "auth.claims.address");
    refused("{\"auth\":{\"claims\":{\"address\":\"a b\"}}}", "auth.claims.address");
    refused("{\"auth\":{\"claims\":{\"address\":\"a\\\"b\"}}}", "auth.claims.address");
    refused("{\"auth\":{\"claims\":{\"address\":\"iss\"}}}", "auth.claims.address");
    refused("{\"auth\":{\"claims\":{\"rights\":\"exp\"}}}", "auth.claims.rights");
    refused("{\"auth\":{\"claims\":{\"rights\":\"sub\"}}}", "auth.claims.rights");
    refused("{\"auth\":{\"defaultGrant\":{\"groups\":[\"team\"]}}}", "auth.defaultGrant.groups");
    refused("{\"auth\":{\"defaultGrant\":{\"send\":[\"#team\"]}}}", "auth.defaultGrant.send");
    refused("{\"auth\":{\"defaultGrant\":{\"relay\":[\"\"]}}}", "auth.defaultGrant.relay");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        TEST(keys_that_verify_are_taken),
        TEST(keys_of_no_use_are_left_out),
        TEST(rsa_keys_have_a_least_and_a_greatest_size),
        TEST(sets_with_a_fault_are_refused_as_a_whole),
        TEST(a_private_key_is_no_business_of_a_server),
        TEST(secrets_are_for_the_owner_alone),
        TEST(a_set_is_bounded),
        TEST(the_file_must_be_there_and_guarded),
        TEST(a_key_of_our_own_is_not_replaced),
        TEST(a_set_is_packed_compared_and_copied),
        TEST(the_set_alone_is_read_again),
        TEST(claims_have_names_and_the_default_grant_has_patterns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
