/* Which configuration file is read, where its paths lead, and the file of revocations. */
#include "config_fixture.h"

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
    static const char *const files[] = { "config/config-dev.json", "config/config-zhycit.json",
                                         "config/config-production.json" };

    (void)state;
    setenv("POSTOFFICE_USER", "", 1); /* the package makes the user of production */
    setenv("POSTOFFICE_GROUP", "", 1);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
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
    unsetenv("POSTOFFICE_USER");
    unsetenv("POSTOFFICE_GROUP");
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
        "J-1 left",
        "J-1 # left\nJ-1 left",
        "\"J-1",
        "\"J-1\"x",
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
        assert_null(strstr(errors(), "J-1"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(relative_paths_start_where_the_contract_says),
        TEST(our_own_files_load),
        TEST(revocations_are_sorted_and_comments_are_not),
        TEST(addresses_are_revoked_from_their_time_on),
        TEST(junk_in_the_revocations_is_an_error_that_names_the_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
