/* master/embedded_log: what a Redis says becomes lines of our log, at no rate that could hurt. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "master/embedded_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int ends[2], fd_before;
static char text[65536];
static struct embedded_log embedded;

static int begin(void **state)
{
    (void)state;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return -1;
    fd_before = log_set_fd(ends[1]);
    embedded_log_begin(&embedded, 1000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    log_set_fd(fd_before);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* What has been logged since the last call. */
static const char *written(void)
{
    size_t len = 0;
    ssize_t got;

    while ((got = read(ends[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = 0;
    return text;
}

static unsigned lines(const char *all)
{
    unsigned count = 0;

    for (; *all; all++)
        count += *all == '\n';
    return count;
}

static void say(const char *line, bool warn)
{
    embedded_log_take(&embedded, line, strlen(line), warn, 1000);
}

static void a_line_is_logged_without_the_stamp_of_redis(void **state)
{
    (void)state;
    say("14217:M 28 Nov 2026 02:02:59.677 * Done loading RDB, keys loaded: 0 - 1.\n", true);
    written();
    assert_non_null(strstr(text, " info pid="));
    assert_non_null(
        strstr(text, "event=storage_says text=\"Done loading RDB, keys loaded: 0 - 1.\"\n"));
}

static void warnings_count_as_such_while_it_serves(void **state)
{
    (void)state;
    say("1:M 28 Nov 2026 02:02:59.677 # Disk is full\n", true);
    assert_non_null(strstr(written(), " warn pid="));
    say("1:M 28 Nov 2026 02:02:59.677 # Server initialized\n", false);
    assert_non_null(strstr(written(), " info pid="));
    say("cannot be started: folder: Permission denied\n", true);
    assert_non_null(strstr(written(), " warn pid="));
    assert_non_null(strstr(text, "text=\"cannot be started: folder: Permission denied\""));
}

static void its_version_and_its_readiness_are_learned(void **state)
{
    static const struct {
        const char *version, *ready, *expected;
    } table[] = {
        { "1:C 28 Nov 2026 02:02:59.677 # Redis version=7.0.15, bits=64, pid=1\n",
          "1:M 28 Nov 2026 02:02:59.679 * The server is now ready to accept connections at x\n",
          "7.0.15" },
        { "1:C 28 Nov 2026 02:02:59.677 * Valkey version=8.1.1, bits=64\n",
          "1:M 28 Nov 2026 02:02:59.679 * Ready to accept connections unix\n", "8.1.1" },
        { "1:C 28 Nov 2026 02:02:59.677 * Redis version=9\n",
          "1:M 28 Nov 2026 02:02:59.679 * Ready to accept connections unix\n", "9" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        embedded_log_begin(&embedded, 1000);
        say(table[i].version, false);
        assert_string_equal(embedded.version, table[i].expected);
        assert_false(embedded.ready);
        say(table[i].ready, false);
        assert_true(embedded.ready);
    }
    embedded_log_begin(&embedded, 1000);
    assert_string_equal(embedded.version, "");
    assert_false(embedded.ready);
}

static void bytes_may_come_in_any_pieces(void **state)
{
    static const char line[] =
        "7:M 28 Nov 2026 02:02:59.679 * one\n7:M 28 Nov 2026 02:02:59.679 * two\n\n";

    (void)state;
    for (size_t i = 0; i < sizeof line - 1; i++)
        embedded_log_take(&embedded, line + i, 1, true, 1000);
    assert_int_equal(lines(written()), 2);
    assert_non_null(strstr(text, "text=\"one\""));
    assert_non_null(strstr(text, "text=\"two\""));
}

static void a_line_without_end_and_odd_bytes_cost_one_line(void **state)
{
    static char flood[100000];

    (void)state;
    memset(flood, 'x', sizeof flood);
    embedded_log_take(&embedded, flood, sizeof flood, true, 1000);
    assert_string_equal(written(), "");
    embedded_log_take(&embedded, "\0\x1b[31m\xff\n", 8, true, 1000);
    assert_int_equal(lines(written()), 1);
    embedded_log_take(&embedded, "\0\x1b[31m\xff\n", 8, true, 1000);
    assert_non_null(strstr(written(), "text=\"\\x1b[31m\\xff\"\n"));
    for (const char *c = "1:M .\n# \n:\n1:M # \n * \n"; *c; c++)
        embedded_log_take(&embedded, c, 1, true, 1000);
}

static void a_flood_is_counted_and_the_count_is_said(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        say("again\n", true);
    assert_int_equal(lines(written()), 50);
    embedded_log_settle(&embedded, 1050);
    assert_string_equal(written(), "");
    embedded_log_settle(&embedded, 1200);
    assert_non_null(strstr(written(), "event=storage_says held_back=950\n"));
    embedded_log_settle(&embedded, 1300);
    assert_string_equal(written(), "");
    for (int i = 0; i < 1000; i++) /* a second later: ten more */
        embedded_log_take(&embedded, "again\n", 6, true, 2200);
    assert_int_equal(lines(written()), 11);
    for (int i = 0; i < 1000; i++)
        embedded_log_take(&embedded, "again\n", 6, true, 1000000);
    assert_int_equal(lines(written()), 50);
    assert_string_equal(embedded.last.text, "\"again\"");
}

static void the_end_of_the_pipe_is_told(void **state)
{
    int said[2];

    (void)state;
    assert_int_equal(pipe2(said, O_CLOEXEC | O_NONBLOCK), 0);
    assert_true(embedded_log_read(&embedded, said[0], true, 1000)); /* nothing there */
    assert_int_equal(write(said[1], "last words\n", 11), 11);
    close(said[1]);
    assert_false(embedded_log_read(&embedded, said[0], true, 1000));
    assert_non_null(strstr(written(), "text=\"last words\""));
    close(said[0]);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_line_is_logged_without_the_stamp_of_redis),
        TEST(warnings_count_as_such_while_it_serves),
        TEST(its_version_and_its_readiness_are_learned),
        TEST(bytes_may_come_in_any_pieces),
        TEST(a_line_without_end_and_odd_bytes_cost_one_line),
        TEST(a_flood_is_counted_and_the_count_is_said),
        TEST(the_end_of_the_pipe_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
