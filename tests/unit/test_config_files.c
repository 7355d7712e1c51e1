/* What a config reads from other files, and what is done with a whole one: pack, compare, reload.
 */
#include "config_fixture.h"

#include "config/keys.h"
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
    config_free(config);
    write_text("other.pub", B32_OTHER);
    refused(
        "{\"auth\":{\"keys\":[{\"kid\":\"a\",\"kty\":\"ed25519\",\"publicFile\":\"other.pub\"}]}}",
        "\"a\" twice");
}

static void revocations_are_sorted_and_comments_are_not(void **state)
{
    struct config *config;

    (void)state;
    write_text("gone.txt", "# gone\n\n zeta \r\nalpha # left\nzeta\n   # more\n\"mid dle\"");
    config = load_good("{\"auth\":{\"revoked\":\"gone.txt\"}}");
    assert_int_equal(config->auth.revoked.count, 3);
    assert_string_equal(config->auth.revoked.items[0], "alpha");
    assert_string_equal(config->auth.revoked.items[1], "mid dle");
    assert_string_equal(config->auth.revoked.items[2], "zeta");
    assert_int_equal(config->auth.revoked_file[0], '/');
    config_free(config);
    write_file("gone.txt", "a\nb\0c\n", 6, 0600);
    refused("{\"auth\":{\"revoked\":\"gone.txt\"}}", "auth.revoked");
    assert_has(errors(), "line 2");
    write_text("gone.txt", "");
    config_free(load_good("{\"auth\":{\"revoked\":\"gone.txt\"}}"));
}

static void addresses_are_revoked_from_their_time_on(void **state)
{
    struct config *config;

    (void)state;
    write_text("gone.txt", "\xef\xbb\xbfsub:bob # left\nsub:bob before:5\r\nsub:bo before:7\n"
                           "sub:bo\tbefore:2026-11-27T09:00:00Z\n\"sub:jti # \"\n"
                           "sub:\"Al # B\" before:0 # x\nj#1\nsub:a#b");
    config = load_good("{\"auth\":{\"revoked\":\"gone.txt\"}}");
    assert_int_equal(config->auth.revoked.count, 2);
    assert_string_equal(config->auth.revoked.items[0], "j#1");
    assert_string_equal(config->auth.revoked.items[1], "sub:jti # ");
    assert_int_equal(config->auth.revoked_subs.count, 4);
    assert_string_equal(config->auth.revoked_subs.items[0], "Al # B\n0");
    assert_string_equal(config->auth.revoked_subs.items[1], "a#b\n9223372036854775807");
    assert_string_equal(config->auth.revoked_subs.items[2], "bo\n1795770000");
    assert_string_equal(config->auth.revoked_subs.items[3], "bob\n9223372036854775807");
    config_free(config);
}

static void junk_in_the_revocations_is_an_error_that_names_the_line(void **state)
{
    static const char *const junk[] = {
        "J1 left",
        "J1 # left\nJ1 left",
        "\"J1",
        "\"J1\"x",
        "\"\"",
        "\xff",
        "a\x01",
        "sub:",
        "sub: bob",
        "sub:#team",
        "sub:postmaster",
        "sub:bob 5",
        "sub:bob before:",
        "sub:bob before: 5",
        "sub:bob before:soon",
        "sub:bob before:-1",
        "sub:bob before:1.5",
        "sub:bob before:1790000000000",
        "sub:bob before:99999999999999999999",
        "sub:bob before:2026-02-30T09:00:00Z",
        "sub:bob before:2026-11-27",
        "sub:bob before:2026-11-27T09:00:00+01:00",
        "sub:bob before:5 before:6",
        "sub:Al B",
    };
    char line[16];

    (void)state;
    for (size_t i = 0; i < sizeof junk / sizeof junk[0]; i++) {
        write_text("gone.txt", junk[i]);
        refused("{\"auth\":{\"revoked\":\"gone.txt\"}}", "auth.revoked");
        snprintf(line, sizeof line, "line %d", strchr(junk[i], '\n') ? 2 : 1);
        assert_has(errors(), line);
        assert_null(strstr(errors(), "J1"));
    }
}

/* ---- Redis ---- */

struct uri {
    const char *uri, *host, *path, *user, *password;
    int port, db;
};

static void redis_uris_are_taken_apart(void **state)
{
    static const struct uri uris[] = {
        { "127.0.0.1:6379", "127.0.0.1", "", "", "", 6379, 0 },
        { "redis.example:1", "redis.example", "", "", "", 1, 0 },
        { "[::1]:65535", "::1", "", "", "", 65535, 0 },
        { "redis://h", "h", "", "", "", 6379, 0 },
        { "redis://h/", "h", "", "", "", 6379, 0 },
        { "redis://h:7/15", "h", "", "", "", 7, 15 },
        { "redis://[fe80::1]/3", "fe80::1", "", "", "", 6379, 3 },
        { "redis://:pw@h", "h", "", "", "pw", 6379, 0 },
        { "redis://me:p%40s%3as@h:7", "h", "", "me", "p@s:s", 7, 0 },
        { "redis://m%25:p@ss/w@h:7", "h", "", "m%", "p@ss/w", 7, 0 },
        { "rediss://me:p%40s@h:7/2", "h", "", "me", "p@s", 7, 2 },
        { "unix:/run/redis.sock", "", "/run/redis.sock", "", "", 0, 0 },
        { "unix:run/redis.sock", "", "run/redis.sock", "", "", 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
        const struct uri *u = &uris[i];
        struct config_redis redis = { 0 };
        const char *reason;
        assert_int_equal(redis_uri_parse(u->uri, &redis, &reason), OK);
        assert_int_equal(redis.kind, *u->path ? CONFIG_REDIS_UNIX : CONFIG_REDIS_TCP);
        assert_string_equal(redis.host, u->host);
        assert_string_equal(redis.path, u->path);
        assert_string_equal(redis.user, u->user);
        assert_string_equal(redis.password, u->password);
        assert_int_equal(redis.port, u->port);
        assert_int_equal(redis.db, u->db);
        assert_int_equal(redis.tls, strncmp(u->uri, "rediss", 6) == 0);
        redis_uri_fini(&redis);
    }
}

static void bad_uris_are_refused_and_no_password_is_shown(void **state)
{
    static const char *const bad[] = {
        "",
        "host",
        "host:",
        "host:0",
        "host:65536",
        ":6379",
        "host:63 79",
        "http://h:1",
        "h:1/0",
        "[::1",
        "[::1]",
        "[host]:1",
        "redis://",
        "redis://h:x",
        "redis://h/x",
        "redis://h/1/2",
        "redis://h/1000001",
        "unix:",
        "redis://hunter2@h",
        "redis://me:hunter2%@h",
        "redis://me:hunter2%zz@h",
        "redis://me:hunter2%00@h",
        "redis://me:hunter2@h:x",
        "redis://me:hunter2@",
        "redis://me:hunter2",
        "rediss://me:hunter2@h:x",
        "REDISS://me:hunter2@h:1",
        "me:hunter2@h:1x",
        "redis://me:a@hunter2@h:x",
        "me:hunter2",
        "redis://h:1?password=hunter2",
        "redis://me:hunter2 @h",
        "h:1#hunter2",
        "redis:/me:hunter2@h",
        "http://me:hunter2/x",
        "unix:me:hunter2@",
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config_redis redis = { 0 };
        const char *reason;
        snprintf(text, sizeof text, "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"%s\"}}}}",
                 bad[i]);
        if (redis_uri_parse(bad[i], &redis, &reason) == OK) {
            redis_uri_fini(&redis); /* the last one is a path, however odd */
            assert_true(strncmp(bad[i], "unix:m", 6) == 0);
            continue;
        }
        refused(text, "dataSource.redis.x.uri");
        assert_lacks(errors(), "hunter2");
        setenv("POSTOFFICE_REDIS_URI", bad[i], 1);
        assert_null(load_bytes("{}", 2, true));
        unsetenv("POSTOFFICE_REDIS_URI");
        assert_has(errors(), "POSTOFFICE_REDIS_URI");
        assert_lacks(errors(), "hunter2");
        assert_lines_whole();
    }
    refused("{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"redis://me:hunter2@h:x\"}}}}",
            "\"redis://me:***@h:***\"");
}

/* Each is written so by other programs; the operator reads what is wrong with it. */
static void a_redis_uri_of_another_form_is_told_apart(void **state)
{
    static const char *const cases[][2] = {
        { "REDIS://h:1", "small letters: redis://" },
        { "Redis://me:hunter2@h", "small letters: redis://" },
        { "REDISS://h", "TLS" },
        { "valkeys://h", "TLS" },
        { "redis://h?timeout=5", "options behind" },
        { "redis://h:1?timeout=5", "options behind" },
        { "redis://h:1/0?timeout=5&x=y", "options behind" },
        { "redis://me:hunter2@h:1/0#x", "options behind" },
        { "h:1?timeout=5", "options behind" },
        { "unix:/s?db=1", "options behind" },
        { "unix:///s?db=1", "options behind" },
        { "UNIX:/s", "unix:PATH" },
        { "redis+unix:///s", "unix:PATH" },
        { "redis-sentinel://h:1/x", "Sentinel" },
        { "http://h:1", "the scheme is not redis://" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];

        snprintf(text, sizeof text, "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"%s\"}}}}",
                 cases[i][0]);
        refused(text, cases[i][1]);
        assert_lacks(errors(), "hunter2");
    }
}

static void the_first_source_counts_or_the_one_in_use(void **state)
{
    struct config *config;

    (void)state;
    config =
        load_good("{\"dataSource\":{\"redis\":{\"z\":{\"uri\":\"z:1\"},\"a\":{\"uri\":\"a:1\"}}}}");
    assert_string_equal(config->redis.host, "z");
    config_free(config);
    config = load_good("{\"dataSource\":{\"use\":\"a\",\"redis\":{\"z\":{\"uri\":\"z:1\"},\"a\":{"
                       "\"uri\":\"a:1\"}}}}");
    assert_string_equal(config->redis.host, "a");
    config_free(config);
    setenv("POSTOFFICE_REDIS_URI", "unix:/s", 1);
    config = load_bytes("{}", 2, true);
    assert_non_null(config);
    assert_string_equal(config->redis.path, "/s");
    config_free(config);
    unsetenv("POSTOFFICE_REDIS_URI");
    refused("{\"dataSource\":{\"use\":\"b\",\"redis\":{\"a\":{\"uri\":\"a:1\"}}}}",
            "dataSource.use");
    refused("{\"dataSource\":{\"redis\":{\"a\":{\"uri\":\"a:1\"},\"b\":{\"uri\":\"b\"}}}}",
            "dataSource.redis.b.uri"); /* every one is checked */
    refused("{\"dataSource\":{\"redis\":{\"a\":{}}}}", "dataSource.redis.a.uri");
    refused("{\"dataSource\":{\"redis\":{\"a\":\"a:1\"}}}", "dataSource.redis.a");
    refused("{\"dataSource\":{\"redis\":{\"a\":{\"uri\":7}}}}", "dataSource.redis.a.uri");
    refused("{\"dataSource\":{\"redis\":{\"a\":{\"uri\":\"a:1\",\"x\":1}}}}",
            "dataSource.redis.a.x");
    refused("{\"dataSource\":{\"mysql\":{}}}", "dataSource.mysql");
}

/* ---- finding the file ---- */

static void the_file_is_looked_for_where_it_is_said(void **state)
{
    struct config_source source = { .config_dir = folder, .env = "one" };
    struct config *config;
    char path[200];

    (void)state;
    buf_reset(&report.errors);
    write_text("config-one.json", "{\"socketPort\":11}");
    config = config_load(&source, &report);
    assert_non_null(config);
    assert_int_equal(config->socket_port, 11);
    config_free(config);
    setenv("POSTOFFICE_ENV", "one", 1);
    source.env = NULL;
    config = config_load(&source, &report);
    unsetenv("POSTOFFICE_ENV");
    assert_non_null(config);
    config_free(config);

    source.env = "absent";
    assert_null(config_load(&source, &report));
    assert_has(errors(), folder);
    assert_has(errors(), "config/config-absent.json");
    assert_has(errors(), "/etc/postoffice/config-absent.json");
    source.env = "../x";
    assert_null(config_load(&source, &report));
    assert_has(errors(), "--env: found \"../x\"");

    snprintf(path, sizeof path, "%s/config-one.json", folder);
    source = (struct config_source){ .file = path, .env = "absent" };
    config = config_load(&source, &report);
    assert_non_null(config);
    assert_string_equal(config->dir, folder);
    config_free(config);
    source.file = "/no/such/file.json";
    assert_null(config_load(&source, &report));
    assert_has(errors(), "/no/such/file.json");
    source.file = folder;
    assert_null(config_load(&source, &report));
    assert_has(errors(), "a directory");
}

static void relative_paths_start_where_the_contract_says(void **state)
{
    struct config *config = load_good("{\"log\":{\"file\":\"l.log\"},\"pidFile\":\"run/p\","
                                      "\"auth\":{\"keyDir\":\"./k\"},\"sslCertPath\":\"c\"}");
    char path[4200], *cwd = getcwd(NULL, 0);

    (void)state;
    snprintf(path, sizeof path, "%s/l.log", cwd);
    assert_string_equal(config->log.file, path);
    assert_string_equal(config->pid_file, "run/p");
    snprintf(path, sizeof path, "%s/k", folder);
    assert_string_equal(config->auth.key_dir, path);
    snprintf(path, sizeof path, "%s/c", folder);
    assert_string_equal(config->ssl_cert_path, path);
    free(cwd);
    config_free(config);
}

static void our_own_files_load(void **state)
{
    static const char *const files[] = { "config/config-dev.json", "config/config-zhycit.json" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct config_source source = { .file = files[i] };
        struct config *config;
        if (access(files[i], R_OK) != 0)
            skip(); /* not run from the project's root */
        buf_reset(&report.errors);
        config = config_load(&source, &report);
        if (!config)
            print_error("%s", errors());
        assert_non_null(config);
        assert_int_equal(config->socket_port, 7502);
        config_free(config);
    }
}

/* ---- pack, diff, reload ---- */

static const char full[] =
    "{\"workers\":3,\"listen\":\"127.0.0.1\",\"dataSource\":{\"redis\":{\"x\":{\"uri\":"
    "\"redis://me:hunter2@h:7/2\"}}},\"auth\":{\"required\":false,\"origins\":[\"https://"
    "a.b\",\"http://c\"],"
    "\"revoked\":\"gone.txt\"},\"limits\":{\"burst\":9},\"log\":{\"level\":\"warn\"}}";

static struct config *load_full(void)
{
    make_folder("keys");
    write_text("keys/a.pub", B32);
    write_text("keys/b.secret", B32_OTHER);
    write_text("gone.txt", "j1\nj2\n");
    return load_good(full);
}

static void a_packed_config_comes_back_the_same(void **state)
{
    struct config *config = load_full(), *back;
    struct buf packed, again;

    (void)state;
    assert_lacks(warnings(), "hunter2");
    buf_init(&packed, 1 << 20);
    buf_init(&again, 1 << 20);
    assert_int_equal(config_pack(config, &packed), OK);
    back = config_unpack(buf_slice(&packed));
    assert_non_null(back);
    assert_int_equal(config_diff(config, back, NULL, 0), 0);
    assert_int_equal(config_pack(back, &again), OK);
    assert_true(slice_equal(buf_slice(&packed), buf_slice(&again)));
    assert_string_equal(back->redis.password, "hunter2");
    assert_string_equal(back->auth.origins.items[1], "http://c");
    assert_string_equal(back->auth.revoked.items[1], "j2");
    assert_string_equal(back->auth.keys[1].kid, "b");
    assert_memory_equal(back->auth.keys[1].bytes, config->auth.keys[1].bytes, 32);
    assert_string_equal(back->dir, folder);
    assert_false(back->auth.required);
    config_free(back);
    config_free(config);
    buf_fini(&packed);
    buf_fini(&again);
}

/* No prefix is a config, nor is one with a byte more; a changed byte is refused or gives a config
 * that packs to those very bytes. */
static void damaged_bytes_are_refused_or_harmless(void **state)
{
    struct config *config = load_full(), *back;
    struct buf packed, again;

    (void)state;
    buf_init(&packed, 1 << 20);
    buf_init(&again, 1 << 20);
    assert_int_equal(config_pack(config, &packed), OK);
    config_free(config);
    for (size_t len = 0; len < packed.len; len++) {
        char *exact = malloc(len ? len : 1);
        memcpy(exact, packed.data, len);
        assert_null(config_unpack(slice_make(exact, len)));
        free(exact);
    }
    for (size_t at = 0; at < packed.len; at++) {
        packed.data[at] = (char)(packed.data[at] ^ 0x81);
        back = config_unpack(buf_slice(&packed));
        if (back) {
            buf_reset(&again);
            assert_int_equal(config_pack(back, &again), OK);
            assert_true(slice_equal(buf_slice(&packed), buf_slice(&again)));
            config_free(back);
        }
        packed.data[at] = (char)(packed.data[at] ^ 0x81);
    }
    buf_add_char(&packed, 0);
    assert_null(config_unpack(buf_slice(&packed)));
    buf_fini(&packed);
    buf_fini(&again);
}

static void a_pack_that_does_not_fit_says_so(void **state)
{
    struct config *config = load_good("{}");
    struct buf small;

    (void)state;
    buf_init(&small, 64);
    assert_int_equal(config_pack(config, &small), ERR_FULL);
    buf_fini(&small);
    config_free(config);
}

/* One key at a time, from the table: the change is named once, with how it applies. */
static void each_changed_key_is_named_alone(void **state)
{
    struct config *before = load_full(), *after;
    struct config_change change;
    struct buf packed;

    (void)state;
    buf_init(&packed, 1 << 20);
    assert_int_equal(config_pack(before, &packed), OK);
    for (size_t i = 0; i < config_key_rows; i++) {
        const struct key *key = &config_keys[i];
        if (!key->name || (key->type != KEY_INT && key->type != KEY_BOOL && key->type != KEY_TEXT))
            continue;
        after = config_unpack(buf_slice(&packed));
        assert_non_null(after);
        if (key->type == KEY_INT)
            *(int64_t *)key_field(key, after) += 1;
        else if (key->type == KEY_BOOL)
            *(bool *)key_field(key, after) ^= true;
        else {
            char **text = key_field(key, after);
            free(*text);
            *text = strdup("changed");
        }
        assert_int_equal(config_diff(before, after, &change, 1), 1);
        assert_string_equal(change.key, key->name);
        assert_int_equal(change.apply, key->apply);
        config_free(after);
    }
    buf_fini(&packed);
    config_free(before);
}

static void changed_files_count_as_the_keys_that_name_them(void **state)
{
    struct config *before = load_full(), *after;
    struct config_change changes[4];

    (void)state;
    write_text("keys/a.pub", B32_OTHER);
    write_text("gone.txt", "j1\nj3\n");
    after = load_good(full);
    assert_int_equal(config_diff(before, after, changes, 4), 2);
    assert_string_equal(changes[0].key, "auth.keyDir");
    assert_string_equal(changes[1].key, "auth.revoked");
    assert_int_equal(changes[0].apply, CONFIG_LIVE);
    assert_int_equal(config_diff(before, after, changes, 1), 2); /* counts past max */
    config_free(after);
    after = load_good("{}");
    assert_true(config_diff(before, after, changes, 4) > 4);
    config_free(after);
    config_free(before);
}

static void a_reload_keeps_what_needs_a_restart(void **state)
{
    struct config *before =
        load_good("{\"socketPort\":1,\"pidFile\":\"p\",\"node\":{\"id\":\"n\"}}");
    struct config *after =
        load_good("{\"socketPort\":2,\"workers\":4,\"redis\":{\"prefix\":\"x:\"},"
                  "\"limits\":{\"burst\":5}}");
    struct config *now = config_reloaded(before, after);

    (void)state;
    assert_non_null(now);
    assert_int_equal(now->socket_port, 1);
    assert_string_equal(now->pid_file, "p");
    assert_string_equal(now->node_id, "n");
    assert_int_equal(now->workers, 4);
    assert_string_equal(now->redis_options.prefix, "x:");
    assert_int_equal(now->limits.burst, 5);
    config_free(now);
    config_free(after);
    config_free(before);
}

/* auth.required false came with a loopback listen, which a reload does not apply. */
static void a_reload_never_waives_tokens_on_an_open_port(void **state)
{
    struct config *before = load_good("{}");
    struct config *after = load_good("{\"listen\":\"127.0.0.1\",\"auth\":{\"required\":false}}");
    struct config *now = config_reloaded(before, after);

    (void)state;
    assert_non_null(now);
    assert_string_equal(now->listen.items[0], "0.0.0.0");
    assert_true(now->auth.required);
    config_free(now);
    now = config_reloaded(after, after);
    assert_non_null(now);
    assert_false(now->auth.required);
    config_free(now);
    config_free(after);
    config_free(before);
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
        TEST(revocations_are_sorted_and_comments_are_not),
        TEST(addresses_are_revoked_from_their_time_on),
        TEST(junk_in_the_revocations_is_an_error_that_names_the_line),
        TEST(redis_uris_are_taken_apart),
        TEST(a_redis_uri_of_another_form_is_told_apart),
        TEST(bad_uris_are_refused_and_no_password_is_shown),
        TEST(the_first_source_counts_or_the_one_in_use),
        TEST(the_file_is_looked_for_where_it_is_said),
        TEST(relative_paths_start_where_the_contract_says),
        TEST(our_own_files_load),
        TEST(a_packed_config_comes_back_the_same),
        TEST(damaged_bytes_are_refused_or_harmless),
        TEST(a_pack_that_does_not_fit_says_so),
        TEST(each_changed_key_is_named_alone),
        TEST(changed_files_count_as_the_keys_that_name_them),
        TEST(a_reload_keeps_what_needs_a_restart),
        TEST(a_reload_never_waives_tokens_on_an_open_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
