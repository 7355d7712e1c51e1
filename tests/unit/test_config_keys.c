/* The keys and certificates that a config names: which files are good, and who may read them. */
#include "config_fixture.h"

#include "config/changes.h"
#include "config/parts.h"

static void key_files_in_the_directory_are_keys(void **state)
{
    struct config *config;

    (void)state;
    make_folder("keys");
    write_text("keys/first.pub", B32 "\n");
    write_text("keys/second.secret", B32_OTHER);
    write_text("keys/first.key", "a private seed, none of ours");
    write_text("keys/README", "x");
    config = load_good("{}");
    assert_int_equal(config->auth.key_count, 2);
    assert_string_equal(config->auth.keys[0].kid, "first");
    assert_int_equal(config->auth.keys[0].kty, CONFIG_KTY_ED25519);
    assert_int_equal(config->auth.keys[0].len, 32);
    assert_int_equal(config->auth.keys[0].bytes[31], 0x1f);
    assert_true(config->auth.keys[0].not_after == INT64_MAX);
    assert_int_equal(config->auth.keys[1].kty, CONFIG_KTY_HMAC);
    assert_lacks(warnings(), "keygen");
    assert_lacks(warnings(), "chmod");
    config_free(config);
    config_free(load_good("{\"auth\":{\"keyDir\":\"\"}}")); /* none */
    assert_has(warnings(), "keygen");
    config_free(load_good("{\"auth\":{\"keyDir\":\"nowhere\"}}"));
    assert_has(warnings(), "nowhere");
}

static void refuse_mode(const char *name, mode_t mode, const char *command)
{
    write_file(name, B32, strlen(B32), mode);
    refused("{}", command);
    assert_has(errors(), name);
    assert_lacks(errors(), "AAECA");
}

/* Whoever reads a secret, or writes any key, can make tokens. */
static void
a_key_that_others_can_read_or_write_is_refused_with_the_command_that_mends_it(void **state)
{
    (void)state;
    make_folder("keys");
    refuse_mode("keys/s.secret", 0644, "run chmod 600 /");
    refuse_mode("keys/s.secret", 0640, "run chmod 600 /");
    refuse_mode("keys/s.secret", 0604, "run chmod 600 /");
    refuse_mode("keys/s.secret", 0602, "run chmod go-w /");
    write_file("keys/s.secret", B32, strlen(B32), 0400);
    config_free(load_good("{}"));
    refuse_mode("keys/p.pub", 0666, "run chmod go-w /");
    write_file("keys/p.pub", B32, strlen(B32), 0644); /* public halves are for everybody */
    config_free(load_good("{}"));
    write_file("keys/other", B32, strlen(B32), 0644);
    refused("{\"auth\":{\"keyDir\":\"\",\"keys\":[{\"kid\":\"k\",\"kty\":\"hmac\","
            "\"secretFile\":\"keys/other\"}]}}",
            "run chmod 600 /");
}

static void a_secret_is_wiped_and_its_room_is_used_again(void **state)
{
    enum { COUNT = 20 };
    uint8_t bytes[512], *secrets[COUNT], *again;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        memset(bytes, i + 1, sizeof bytes);
        secrets[i] = secret_new(bytes, sizeof bytes);
        assert_non_null(secrets[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        memset(bytes, i + 1, sizeof bytes);
        assert_memory_equal(secrets[i], bytes, sizeof bytes);
    }
    secret_free(secrets[3]);
    memset(bytes, 0, sizeof bytes);
    assert_memory_equal(secrets[3], bytes, sizeof bytes);
    again = secret_new("x", 1);
    assert_non_null(again);
    secrets[3] = again;
    for (int i = 0; i < COUNT; i++)
        secret_free(secrets[i]);
    secret_free(NULL);
}

static void a_long_secret_has_pages_of_its_own(void **state)
{
    static const size_t lens[] = { 513, 4096, 4097, 16384 };
    static uint8_t bytes[16384];
    uint8_t *small = secret_new("x", 1), *secrets[4], *again;

    (void)state;
    assert_non_null(small);
    memset(bytes, 7, sizeof bytes);
    for (int i = 0; i < 4; i++) {
        secrets[i] = secret_new(bytes, lens[i]);
        assert_non_null(secrets[i]);
        assert_memory_equal(secrets[i], bytes, lens[i]);
    }
    again = secret_new("y", 1);
    assert_non_null(again);
    assert_true(again > small - 4096 && again < small + 4096); /* beside the other short one */
    for (int i = 0; i < 4; i++)
        secret_free(secrets[i]);
    secret_free(again);
    secret_free(small);
}

/* A file may hold the private key beside the certificate; the chain is public, the key is not. */
static void a_chain_holds_certificates_alone(void **state)
{
    static const char cert[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    struct config *config, *again;
    struct buf packed;
    char text[512];

    (void)state;
    snprintf(text, sizeof text,
             "words\n%s%s\n-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n%s",
             cert, cert, cert);
    write_text("both.pem", text);
    config =
        load_good("{\"sslPort\":7503,\"sslCertPath\":\"both.pem\",\"sslKeyPath\":\"both.pem\"}");
    assert_int_equal(config->tls.pair_count, 1);
    snprintf(text, sizeof text, "%s\n%s\n%s\n", cert, cert, cert);
    assert_int_equal(config->tls.pairs[0].chain_len, strlen(text));
    assert_memory_equal(config->tls.pairs[0].chain, text, strlen(text));
    assert_non_null(memmem(config->tls.pairs[0].key, config->tls.pairs[0].key_len, "SECRET", 6));
    buf_init(&packed, 1 << 20);
    assert_int_equal(config_pack(config, &packed), OK);
    again = config_unpack(buf_slice(&packed));
    assert_non_null(again);
    assert_int_equal(config_diff(config, again, NULL, 0), 0);
    config_forget_pair_keys(again);
    assert_null(again->tls.pairs[0].key);
    assert_memory_equal(again->tls.pairs[0].chain, text, strlen(text));
    buf_fini(&packed);
    config_free(again);
    config_free(config);
}

static void a_key_file_that_is_none_is_named_and_not_shown(void **state)
{
    static const char *const bad[] = {
        "",      "\n",         B31,
        B32 "=", B32 B32,      "hunter2-hunter2",
        " " B32, B32 "\n" B32, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9="
    };

    (void)state;
    make_folder("keys");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text("keys/k.pub", bad[i]);
        refused("{}", "keys/k.pub");
        assert_lacks(errors(), "AAECA");
        assert_lacks(errors(), "hunter2");
    }
    write_text("keys/k.pub", B32);
    write_text("keys/k.secret", B31);
    refused("{}", "keys/k.secret");
    write_text("keys/k.secret", B32);
    refused("{}", "\"k\" twice");
    write_text("keys/bad name.pub", B32);
    refused("{}", "bad name.pub");
}

static void a_key_has_its_length(void **state)
{
    static const size_t lengths[] = { 31, 32, 511, 512, 513 };
    char text[1000];

    (void)state;
    make_folder("keys");
    for (size_t i = 0; i < 5; i++) {
        size_t len = lengths[i], pad = (3 - len % 3) % 3, size = 4 * ((len + 2) / 3);
        memset(text, 'A', size);
        memset(text + size - pad, '=', pad);
        write_file("keys/h.secret", text, size, 0600);
        if (len >= 32 && len <= 512) {
            struct config *config = load_good("{}");
            assert_non_null(config);
            assert_int_equal(config->auth.keys[0].len, len);
            config_free(config);
        } else {
            refused("{}", "h.secret");
        }
        write_file("keys/h.secret", B32, strlen(B32), 0600);
        write_file("keys/p.pub", text, size, 0600);
        if (len == 32)
            config_free(load_good("{}"));
        else
            refused("{}", "p.pub");
        write_file("keys/p.pub", B32, strlen(B32), 0600);
    }
}

static void a_fifo_or_a_folder_is_no_key(void **state)
{
    char path[200];

    (void)state;
    make_folder("keys");
    make_folder("keys/d.pub");
    refused("{}", "d.pub");
    snprintf(path, sizeof path, "%s/keys/f.pub", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    refused("{}", "f.pub"); /* and does not wait for a writer */
}

static void listed_keys_are_read_and_checked(void **state)
{
    static const char *const bad[] = {
        "7",
        "{}",
        "{\"kid\":\"a\",\"kty\":\"ed25519\"}",
        "{\"kid\":\"a\",\"kty\":\"rsa\",\"publicFile\":\"a.txt\"}",
        "{\"kid\":\"a\",\"kty\":\"ed25519\",\"secretFile\":\"a.txt\"}",
        "{\"kid\":\"a\",\"kty\":\"hmac\",\"publicFile\":\"a.txt\"}",
        "{\"kid\":\"a\",\"kty\":\"hmac\",\"publicFile\":\"a.txt\",\"secretFile\":\"a.txt\"}",
        "{\"kid\":\"\",\"kty\":\"ed25519\",\"publicFile\":\"a.txt\"}",
        "{\"kid\":\"a b\",\"kty\":\"ed25519\",\"publicFile\":\"a.txt\"}",
        "{\"kid\":7,\"kty\":\"ed25519\",\"publicFile\":\"a.txt\"}",
        "{\"kty\":\"ed25519\",\"publicFile\":\"a.txt\"}",
        "{\"kid\":\"a\",\"kty\":\"ed25519\",\"publicFile\":\"none.txt\"}",
        "{\"kid\":\"a\",\"kty\":\"ed25519\",\"publicFile\":\"a.txt\",\"notAfter\":\"x\"}",
        "{\"kid\":\"a\",\"kty\":\"ed25519\",\"publicFile\":\"a.txt\",\"notAfter\":-1}",
        "{\"kid\":\"a\",\"kty\":\"ed25519\",\"publicFile\":\"a.txt\",\"more\":1}",
    };
    char text[512];
    struct config *config;

    (void)state;
    write_text("a.txt", B32);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "{\"auth\":{\"keys\":[%s]}}", bad[i]);
        refused(text, "auth.keys[");
    }
    refused("{\"auth\":{\"keys\":[{\"kid\":\"a\",\"kty\":\"hmac\",\"secretFile\":\"a.txt\"},"
            "{\"kid\":\"a\",\"kty\":\"hmac\",\"secretFile\":\"a.txt\"}]}}",
            "auth.keys[1]: found kid \"a\" twice");
    config = load_good(
        "{\"auth\":{\"keys\":[{\"kid\":\"a\",\"kty\":\"ed25519\",\"publicFile\":\"a.txt\","
        "\"notAfter\":4000000000},{\"kid\":\"b\",\"kty\":\"hmac\",\"secretFile\":\"a.txt\"}]}}");
    assert_int_equal(config->auth.key_count, 2);
    assert_int_equal(config->auth.keys[0].not_after, 4000000000);
    assert_int_equal(config->auth.keys[1].kty, CONFIG_KTY_HMAC);
    config_free(config);
}

/* auth.keys may give a notAfter to what lies in the directory, but not name another key the same.
 */
static void a_listed_key_may_lie_in_the_directory(void **state)
{
    static const char text[] =
        "{\"auth\":{\"keys\":[{\"kid\":\"a\",\"kty\":\"ed25519\",\"publicFile\":"
        "\"keys/a.pub\",\"notAfter\":1}]}}";
    struct config *config;

    (void)state;
    make_folder("keys");
    write_text("keys/a.pub", B32);
    config = load_good(text);
    assert_int_equal(config->auth.key_count, 1);
    assert_int_equal(config->auth.keys[0].not_after, 1);
    assert_has(warnings(), "notAfter in the past");
    assert_int_equal(report.timed_count, 1);
    config_free(config);
    write_text("other.pub", B32_OTHER);
    refused(
        "{\"auth\":{\"keys\":[{\"kid\":\"a\",\"kty\":\"ed25519\",\"publicFile\":\"other.pub\"}]}}",
        "\"a\" twice");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(key_files_in_the_directory_are_keys),
        TEST(a_key_that_others_can_read_or_write_is_refused_with_the_command_that_mends_it),
        TEST(a_secret_is_wiped_and_its_room_is_used_again),
        TEST(a_long_secret_has_pages_of_its_own),
        TEST(a_chain_holds_certificates_alone),
        TEST(a_key_file_that_is_none_is_named_and_not_shown),
        TEST(a_key_has_its_length),
        TEST(a_fifo_or_a_folder_is_no_key),
        TEST(listed_keys_are_read_and_checked),
        TEST(a_listed_key_may_lie_in_the_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
