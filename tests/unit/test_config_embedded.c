/* config: embedded:DIR, where its folder and its socket are, and what a reload makes of a change.
 */
#include "config_fixture.h"

#include "config/changes.h"

#define EMBEDDED(dir) "{\"dataSource\":{\"redis\":{\"main\":{\"uri\":\"embedded:" dir "\"}}}}"
#define ELSEWHERE     "{\"dataSource\":{\"redis\":{\"main\":{\"uri\":\"unix:/s\"}}}}"

static struct config *load_dir(const char *dir)
{
    char text[4096];

    snprintf(text, sizeof text, EMBEDDED("%s"), dir);
    return load_good(text);
}

static void a_relative_folder_starts_at_the_configuration_file(void **state)
{
    static const struct {
        const char *written, *expected; /* behind the folder of the test */
    } table[] = {
        { "storage", "/storage" },
        { "./storage", "/storage" },
        { "storage///", "/storage" },
        { "a/b/c", "/a/b/c" },
    };
    char expected[256];

    (void)state;
    assert_int_equal(chmod(folder, 0755), 0); /* root's workers can walk there */
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct config *config = load_dir(table[i].written);
        snprintf(expected, sizeof expected, "%s%s", folder, table[i].expected);
        assert_string_equal(config->redis.folder, expected);
        assert_int_equal(config->redis.kind, CONFIG_REDIS_UNIX);
        snprintf(expected, sizeof expected, "%s%s/redis.sock", folder, table[i].expected);
        assert_string_equal(config->redis.path, expected);
        config_free(config);
    }
}

static void steps_up_leave_no_trace_in_the_folder(void **state)
{
    struct config *config = load_dir("../x/redis");

    (void)state;
    assert_string_equal(config->redis.folder, "/tmp/x/redis");
    config_free(config);
    config = load_dir("../../../../redis");
    assert_string_equal(config->redis.folder, "/redis");
    config_free(config);
}

static void an_absolute_folder_is_taken_as_it_is(void **state)
{
    struct config *config = load_good(EMBEDDED("/var/lib/postoffice/redis/"));

    (void)state;
    assert_string_equal(config->redis.folder, "/var/lib/postoffice/redis");
    assert_string_equal(config->redis.host, "");
    config_free(config);
}

/* 107 bytes and their NUL are the room of a unix socket's address. */
static void a_folder_of_any_length_has_a_socket_that_fits_and_is_its_own(void **state)
{
    char dir[600], first[128] = "";

    (void)state;
    setenv("XDG_RUNTIME_DIR", folder, 1);
    for (size_t len = 90; len < 500; len++) {
        struct config *config;
        memset(dir, 'd', len);
        dir[0] = '/';
        dir[len] = 0;
        config = load_dir(dir);
        assert_string_equal(config->redis.folder, dir);
        assert_true(strlen(config->redis.path) <= 107);
        if (len + strlen("/redis.sock") <= 107) {
            assert_int_equal(strncmp(config->redis.path, dir, len), 0);
        } else {
            assert_string_not_equal(config->redis.path, first);
            snprintf(first, sizeof first, "%s", config->redis.path);
        }
        config_free(config);
    }
    unsetenv("XDG_RUNTIME_DIR");
}

static void a_folder_behind_a_closed_one_has_its_socket_elsewhere_for_root(void **state)
{
    struct config *config;
    char inside[128];

    (void)state;
    make_folder("closed"); /* 0700, of this user */
    config = load_dir("closed/storage");
    snprintf(inside, sizeof inside, "%s/closed/storage/redis.sock", folder);
    if (geteuid() == 0)
        assert_int_equal(strncmp(config->redis.path, "/run/postoffice-", 16), 0);
    else
        assert_string_equal(config->redis.path, inside);
    config_free(config);
}

static void what_is_no_folder_is_refused(void **state)
{
    static const char *const bad[] = { "embedded:",  "embedded://x", "embedded:/",
                                       "Embedded:x", "embedded:a b", "EMBEDDED:/x" };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"%s\"}}}}",
                 bad[i]);
        refused(text, "dataSource.redis.x.uri");
        assert_has(errors(), "embedded");
    }
}

static void replicas_are_refused(void **state)
{
    (void)state;
    refused("{\"dataSource\":{\"redis\":{\"m\":{\"uri\":\"embedded:x\"}}},"
            "\"mailbox\":{\"durability\":\"replica\"}}",
            "mailbox.durability");
}

static void a_program_is_a_name_or_an_absolute_path(void **state)
{
    (void)state;
    config_free(load_good("{\"redis\":{\"program\":\"valkey-server\"}}"));
    config_free(load_good("{\"redis\":{\"program\":\"/opt/redis/bin/redis-server\"}}"));
    config_free(load_good("{\"redis\":{\"program\":\"\"}}"));
    refused("{\"redis\":{\"program\":\"bin/redis-server\"}}", "redis.program");
    refused("{\"redis\":{\"program\":\"./redis-server\"}}", "redis.program");
}

static void check_reload(const char *before_text, const char *after_text, enum config_apply apply)
{
    struct config *before = load_good(before_text), *after = load_good(after_text), *now;
    struct config_change change;

    assert_int_equal(config_diff(before, after, &change, 1), 1);
    assert_string_equal(change.key, "dataSource.redis");
    assert_int_equal(change.apply, apply);
    now = config_reloaded(before, after);
    assert_non_null(now);
    assert_string_equal(now->redis.folder,
                        apply == CONFIG_RESTART ? before->redis.folder : after->redis.folder);
    assert_string_equal(now->redis.path,
                        apply == CONFIG_RESTART ? before->redis.path : after->redis.path);
    config_free(now);
    config_free(before);
    config_free(after);
}

static void storage_that_begins_or_ends_to_be_embedded_waits_for_a_restart(void **state)
{
    (void)state;
    check_reload(EMBEDDED("a"), EMBEDDED("b"), CONFIG_RESTART);
    check_reload(EMBEDDED("a"), ELSEWHERE, CONFIG_RESTART);
    check_reload(ELSEWHERE, EMBEDDED("a"), CONFIG_RESTART);
    check_reload(ELSEWHERE, "{\"dataSource\":{\"redis\":{\"main\":{\"uri\":\"unix:/t\"}}}}",
                 CONFIG_SWAP);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_relative_folder_starts_at_the_configuration_file),
        TEST(steps_up_leave_no_trace_in_the_folder),
        TEST(an_absolute_folder_is_taken_as_it_is),
        TEST(a_folder_of_any_length_has_a_socket_that_fits_and_is_its_own),
        TEST(a_folder_behind_a_closed_one_has_its_socket_elsewhere_for_root),
        TEST(what_is_no_folder_is_refused),
        TEST(replicas_are_refused),
        TEST(a_program_is_a_name_or_an_absolute_path),
        TEST(storage_that_begins_or_ends_to_be_embedded_waits_for_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
