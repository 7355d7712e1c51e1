/* dataSource: the address of a Redis, and which of several counts. */
#include "config_fixture.h"

#include "config/parts.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(redis_uris_are_taken_apart),
        TEST(a_redis_uri_of_another_form_is_told_apart),
        TEST(bad_uris_are_refused_and_no_password_is_shown),
        TEST(the_first_source_counts_or_the_one_in_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
