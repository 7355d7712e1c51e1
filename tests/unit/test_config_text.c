/* The text of a configuration file: what is read, and how a fault is shown. */
#include "config_fixture.h"

#include "config/tree.h"

static void what_is_not_json_is_refused_with_its_line(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "[]",
        "7",
        "null",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,,}",
        "{,}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{} {}",
        "{'a':1}",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":-01}",
        "{\"a\":tru}",
        "{\"a\":True}",
        "{\"a\":NaN}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"",
        "{\"a\":[1,,]}",
        "{\"a\":[,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" 1}",
        "{\f}",
        "\xef\xbb\xbf{}",
        "{\"a\":\"\xc0\x80\"}",
        "{} # no",
        "{} / no",
        "{} /* no",
        "{} /* no *",
        "{} /*/",
        "{/* /* */ */}",
        "{\"a\": 1 /",
        "{\"a\":\"\n\"}",
        "{\"a\":0x10}",
        "{\"a\":Infinity}",
        "{\"a\":'x'}",
        "{\"a\":11111111111111111111111111111111111111111111111111111111111111111111}",
    };
    char line[160];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(line, sizeof line, "%s:1", conf_file);
        refused(bad[i], line);
    }
    snprintf(line, sizeof line, "%s:3:11: limits.burst: found '?'", conf_file);
    refused("{\n\"limits\":\n{\"burst\": ?}}", line);
    assert_null(load_bytes("{}\0", 3, false)); /* a NUL behind the object is not its end */
    assert_has(errors(), "byte 0x00, allowed nothing after the object");
}

static void nesting_is_bounded(void **state)
{
    char text[256];

    (void)state;
    for (int depth = 31; depth <= 33; depth++) {
        int len = snprintf(text, sizeof text, "{\"x\":");
        for (int i = 1; i < depth; i++)
            text[len++] = '[';
        for (int i = 1; i < depth; i++)
            text[len++] = ']';
        text[len++] = '}';
        assert_null(load_bytes(text, (size_t)len, false));
        if (depth > 32)
            assert_has(errors(), "deeper nesting");
        else
            assert_lacks(errors(), "deeper nesting");
    }
}

static void no_prefix_of_a_file_is_a_file(void **state)
{
    static const char text[] =
        "{\"socketPort\":7502,\"auth\":{\"origins\":[\"https://a.b\"],"
        "\"issuer\":\"\\u00e9\\ud83d\\ude00\"},\"log\":{\"level\":\"info\"}}";

    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *exact = malloc(len ? len : 1);
        memcpy(exact, text, len);
        assert_null(load_bytes(exact, len, false));
        assert_lines_whole();
        free(exact);
    }
    config_free(load_good(text));
}

static void a_key_written_twice_is_refused(void **state)
{
    (void)state;
    refused("{\"socketPort\":1,\"socketPort\":2}", "\"socketPort\" twice");
    refused("{\"limits\":{\"burst\":1,\"\\u0062urst\":2}}",
            "limits: found the key \"burst\" twice");
    refused("{\"auth\":{\"keys\":[{\"kid\":\"a\",\"kid\":\"b\"}]}}", "\"kid\" twice");
}

static void comments_and_last_commas_are_read_over(void **state)
{
    static const char *const good[] = {
        "// first\n{}",
        "/* first */{}// last",
        "{}\n/* last */ // and more",
        "{ // nothing\r\n}",
        "{/**/}",
        "{/***/}",
        "{/* // \" { [ ' \xe4\xb8\xad \t */}",
        "{\"workers\":/**/3/**/,/**/}",
        "{/**/\"workers\"/**/:3//\n,//\n}",
        "{\"path\":[\"/a\",/**/],}",
        "{\"auth\":{\"issuer\":\"//a/*b\" // the text of a string is none\n}}",
        "{\"limits\":{\"burst\":5,},\"log\":{},}",
        "// ends at a lone CR\r{\"workers\":3}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct config *config = load_good(good[i]);
        if (strstr(good[i], "workers"))
            assert_int_equal(config->workers, 3);
        if (strstr(good[i], "//a/"))
            assert_string_equal(config->auth.issuer, "//a/*b");
        config_free(config);
    }
}

struct fault {
    const char *text, *position, *line, *mark;
};

/* The excerpt below the line of the report: the line of the file, and the mark. */
static void an_error_shows_its_line_with_a_mark(void **state)
{
    static const struct fault faults[] = {
        { "{\n  \"workers\": 99\n}", ":2:14: workers: found 99", "      \"workers\": 99\n",
          "                 ^^\n" },
        { "{\n\t\"workers\": tru }", ":2:13: workers: found 't'", "     \"workers\": tru }\n",
          "                ^\n" },
        { "{\"workers\":7,,}", ":1:14: found ','", "    {\"workers\":7,,}\n",
          "                 ^\n" },
        { "{\"wokers\":7}", ":1:2: wokers: found an unknown key", "    {\"wokers\":7}\n",
          "     ^^^^^^^^\n" },
        { "{\"log\":{\"level\":\"loud\",\"file\":\"a\"}}", ":1:17: log.level: found \"loud\"",
          "    {\"log\":{\"level\":\"loud\",\"file\":\"***\"}}\n", "                    ^^^^^^\n" },
        { "{ /* \xe4\xb8\xad\xe6\x96\x87 */ \"workers\": -1 }", ":1:23: workers: found -1",
          "    {              \"workers\": -1 }\n", "                              ^^\n" },
        { "{\"\xe4\xb8\xad\":1}", ":1:2: \xe4\xb8\xad: found an unknown key",
          "    {\"\xe4\xb8\xad\":1}\n", "     ^^^^\n" },
        { "{\"workers\":1 // ten\n", ":1:13: found the end of the file", "    {\"workers\":1\n",
          "                ^\n" },
        { "{\"path\":[\"/a\",\n\"/b c\",]}", ":2:1: path[1]: found", "    \"/b c\",]}\n",
          "    ^^^^^^\n" },
        { "{\"listen\":\"127.0.0.1\n}", ":1:21: listen: found the end of the line",
          "    {\"listen\":\"127.0.0.1\n", "              ^^^^^^^^^^\n" },
        { "{\"workers\":1,\n\"workers\":2}", ":2:1: found the key \"workers\" twice (line 1)",
          "    \"workers\":2}\n", "    ^^^^^^^^^\n" },
        { "{\"redis\":{\"reconnectMinMs\":11,\n\"reconnectMaxMs\":10}}",
          ":1:28: redis.reconnectMinMs: found 11", "    {\"redis\":{\"reconnectMinMs\":11,\n",
          "                               ^^\n" },
        { "{\"redis\":{\"reconnectMaxMs\":10}}", ":1:28: redis.reconnectMinMs: found 500",
          "    {\"redis\":{\"reconnectMaxMs\":10}}\n", "                               ^^\n" },
        { "{\"listen\":[\"::1\",\"::1\"]}", ":1:18: listen: found \"::1\", which is listed",
          "    {\"listen\":[\"***\",\"::1\"]}\n", "                     ^^^^^\n" },
        { "{/* a\n b", ":1:2: found a comment without its end", "    {/...\n", "     ^\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const struct fault *fault = &faults[i];
        char whole[256];
        refused(fault->text, fault->position);
        snprintf(whole, sizeof whole, "%s%s", fault->line, fault->mark);
        assert_has(errors(), whole);
    }
}

/* A file may hold the password of Redis, and be wrong in any way. */
static void no_excerpt_shows_a_secret(void **state)
{
    static const char *const texts[] = {
        "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"redis://me:hunter2@h:x\"}}},\"a\":1}",
        "{\"dataSorce\":{\"redis\":{\"x\":{\"uri\":\"redis://me:hunter2@h\"}}}}",
        "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"redis://me:hunter2@h\"}}} \"a\":1}",
        "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"redis://me:hunter2@h\n\"}}}}",
        "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"redis://me:\"hunter2@h\"}}}}",
        "{\"dataSorce\":{\"redis\":{\"x\":{\"uri\":\"redis://me:\"hunter2@h\"}}}}",
        "{\"dataSorce\":{\"redis\":{\"x\":{\"uri\":\"redis://me:hunter2\":@h\"}}}}",
        "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"hunter2\":\"}}}}",
        "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"\"hunter2\"}}}}",
        "{\"dataSource\":{\"redis\":{\"x\":{\"uri\":\"me:hunter2\\x@h\"}}}}",
        "{\"dataSorce\":{\"redis\":{\"x\":{\"uri\":\"me:hunter2\\x@h\"}}}}",
        "{\"dataSource\":{\"redis\":{\"x\":\"hunter2\"}}}",
        "{\"dataSource\":{\"redis\":{\"x\":{\"password\":\"hunter2\"}}}}",
        "{\"dataSource\":\"hunter2\"}",
        "{\"redis\":{\"password\":\"hunter2\"}}",
        "{\"auth\":{\"keys\":[\"hunter2\"]}}",
        "{\"auth\":{\"keys\":\"hunter2\"}}",
        "{\"auth\":{\"keys\":[{\"kid\":\"a\",\"kty\":\"hmac\",\"secret\":\"hunter2\"}]}}",
        "{\"a\":1, /* was redis://me:hunter2@h */ \"b\":2} // hunter2",
        "{\"a\": ! // hunter2\n}",
        "{\"a\": /* hunter2\n}",
        "{/* hunter2 */ \"a\": 1} x /* hunter2 */",
        "// hunter2 \xff\n{}",
        "{} /* hunter2\n\xff",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        refused(texts[i], conf_file);
        assert_lacks(errors(), "hunter");
        assert_lacks(warnings(), "hunter");
    }
}

/* Of a file of one long line the member is shown, with what is near. */
static void a_long_line_is_cut_around_the_mark(void **state)
{
    static char text[20000];
    size_t len = (size_t)snprintf(text, sizeof text, "{\"auth\":{\"origins\":[\"https://a.b\"");

    (void)state;
    for (int i = 1; i < 200; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, ",\"https://a.b\"");
    snprintf(text + len, sizeof text - len, "]},\"limits\":{\"burst\":-1,\"recipients\":7}}");
    refused(text, "limits.burst: found -1");
    assert_has(errors(), "    ... \"burst\":-1,\"recipients\":7}}\n                ^^\n");
    assert_true(strlen(errors()) < 1000);
    text[len] = 0;
    refused(text, "found the end of the file");
    assert_true(strlen(errors()) < 1000);
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "{\"", 2);
    refused(text, "found the end of the file, allowed the closing double quote");
    assert_true(strlen(errors()) < 1000);
}

static void a_report_has_an_end(void **state)
{
    static char text[8000];
    size_t len = 1, lines = 0;
    struct slice rest, line;

    (void)state;
    text[0] = '{';
    for (int i = 0; i < 300; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "\"a%d\":%d,\n", i, i);
    text[len++] = '}';
    text[len] = 0;
    assert_null(load_text(text));
    rest = buf_slice(&report.errors);
    while (config_report_next(&rest, &line))
        lines++;
    assert_int_equal(lines, REPORT_LINES_MAX + 1);
    assert_int_equal(report.error_count, 300);
    assert_has(errors(), "... and more\n");
}

static void a_file_has_a_size(void **state)
{
    char *text = malloc(TREE_BYTES_MAX + 2);

    (void)state;
    memset(text, ' ', TREE_BYTES_MAX + 1);
    memcpy(text, "{}", 2);
    config_free(load_bytes(text, TREE_BYTES_MAX, false));
    assert_int_equal(report.errors.len, 0);
    assert_null(load_bytes(text, TREE_BYTES_MAX + 1, false));
    assert_has(errors(), "found 262145 bytes, allowed 262144");
    free(text);
}

static void a_value_of_a_variable_has_no_line(void **state)
{
    (void)state;
    setenv("POSTOFFICE_REDIS_RECONNECT_MIN_MS", "20000", 1);
    assert_null(load_bytes("{\"redis\":{\"reconnectMinMs\":11}}", 31, true));
    unsetenv("POSTOFFICE_REDIS_RECONNECT_MIN_MS");
    assert_int_equal(
        strncmp(errors(), "environment: POSTOFFICE_REDIS_RECONNECT_MIN_MS: found 20000", 59), 0);
    assert_lacks(errors(), "    ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_json_is_refused_with_its_line),
        TEST(nesting_is_bounded),
        TEST(no_prefix_of_a_file_is_a_file),
        TEST(a_key_written_twice_is_refused),
        TEST(comments_and_last_commas_are_read_over),
        TEST(an_error_shows_its_line_with_a_mark),
        TEST(no_excerpt_shows_a_secret),
        TEST(a_long_line_is_cut_around_the_mark),
        TEST(a_report_has_an_end),
        TEST(a_file_has_a_size),
        TEST(a_value_of_a_variable_has_no_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
