/* Where the configuration file is looked for. */
#include "config_fixture.h"

#include "config/parts.h"

static void the_folder_of_the_program_says_where_to_look(void **state)
{
    static const struct {
        const char *own;
        bool config_beside;
        const char *first, *second;
    } rows[] = {
        { "/usr/sbin", false, "/etc/postoffice", "/usr/etc/postoffice" },
        { "/opt/po/bin", false, "/etc/postoffice", "/opt/po/etc/postoffice" },
        { "/sbin", false, "/etc/postoffice", "" },
        { "/home/a/sbin", true, "/home/a/sbin/config", "/etc/postoffice" },
        { "/home/a/post", true, "/home/a/post/config", "/etc/postoffice" },
        { "/home/a/post", false, "/home/a/post/config", "/etc/postoffice" },
        { "/home/a/sbinx", false, "/home/a/sbinx/config", "/etc/postoffice" },
        { "/", true, "/config", "/etc/postoffice" },
        { "", false, "/etc/postoffice", "" }, /* not known */
    };
    char first[PATH_MAX], second[PATH_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        find_folders(rows[i].own, rows[i].config_beside, first, second);
        assert_string_equal(first, rows[i].first);
        assert_string_equal(second, rows[i].second);
    }
}

/* Without a name, the package's config.json comes before the development's. */
static void without_a_name_config_json_comes_first(void **state)
{
    struct config_source source = { .config_dir = folder };
    struct config *config;

    (void)state;
    buf_reset(&report.errors);
    write_text("config-dev.json", "{\"socketPort\":12}");
    config = config_load(&source, &report);
    assert_non_null(config);
    assert_int_equal(config->socket_port, 12);
    config_free(config);
    write_text("config.json", "{\"socketPort\":13}");
    config = config_load(&source, &report);
    assert_non_null(config);
    assert_int_equal(config->socket_port, 13);
    config_free(config);
    source.config_dir = "/no/such/folder";
    assert_null(config_load(&source, &report));
    assert_has(errors(), "looked for /no/such/folder/config.json, /no/such/folder/config-dev.json");
}

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
    assert_has(errors(), "/config-absent.json");
    assert_null(strstr(errors(), "/etc/postoffice")); /* the named folder alone */
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_folder_of_the_program_says_where_to_look),
        TEST(without_a_name_config_json_comes_first),
        TEST(the_file_is_looked_for_where_it_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
