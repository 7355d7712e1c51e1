/* common/log: one event, one line, one write; and nothing a stranger says can forge another. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int ends[2], fd_before;
static char line[4096];

static int begin(void **state)
{
    (void)state;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return -1;
    fd_before = log_set_fd(ends[1]);
    return 0;
}

static int end(void **state)
{
    (void)state;
    log_set_fd(fd_before);
    log_set_worker(-1);
    log_set_level(LOG_INFO);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* What has been written since; "" when nothing. */
static const char *written(void)
{
    ssize_t len = read(ends[0], line, sizeof line - 1);

    line[len > 0 ? len : 0] = 0;
    return line;
}

static void a_line_has_time_level_process_and_event(void **state)
{
    char expected[64];
    int year, month, day, hour, minute, second, ms, at = 0;

    (void)state;
    log_warn("worker_exited", "signal=%d", 11);
    written();
    assert_int_equal(sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour,
                            &minute, &second, &ms, &at),
                     7);
    assert_int_equal(at, 25);
    snprintf(expected, sizeof expected, "warn pid=%d event=worker_exited signal=11\n",
             (int)getpid());
    assert_string_equal(line + at, expected);
    log_set_worker(3);
    log_error("x", "%s", "");
    assert_non_null(strstr(written(), " worker=3 event=x"));
}

static void what_is_below_the_level_is_not_written(void **state)
{
    (void)state;
    log_debug("quiet", "%s", "");
    assert_string_equal(written(), "");
    log_set_level(LOG_DEBUG);
    log_debug("loud", "%s", "");
    assert_non_null(strstr(written(), "debug"));
    log_set_level(LOG_ERROR);
    log_warn("quiet", "%s", "");
    assert_string_equal(written(), "");
}

static void levels_have_names_and_other_names_change_nothing(void **state)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    enum log_level level = LOG_ERROR;

    (void)state;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(log_level_parse(names[i], &level));
        assert_int_equal(level, i);
        log_set_level_named(names[i]);
        assert_int_equal(log_threshold, i);
    }
    assert_false(log_level_parse("Debug", &level));
    assert_false(log_level_parse("", &level));
    assert_int_equal(level, LOG_ERROR);
    log_set_level_named("loud");
    assert_int_equal(log_threshold, LOG_ERROR);
}

static void a_line_is_cut_and_still_ends(void **state)
{
    char text[3000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    log_info("long", "text=%s", text);
    assert_int_equal(strlen(written()), 1024);
    assert_int_equal(line[1023], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + 1023);
}

static void logging_leaves_errno_alone(void **state)
{
    (void)state;
    log_set_fd(-1);
    errno = EINTR;
    log_info("lost", "%s", "");
    assert_int_equal(errno, EINTR);
    log_set_fd(ends[1]);
    log_info("found", "%s", "");
    assert_non_null(strstr(written(), " lines_lost_before=1"));
    log_info("found", "%s", "");
    assert_null(strstr(written(), "lines_lost_before"));
}

static void a_strangers_text_cannot_forge_a_line(void **state)
{
    struct log_text text;

    (void)state;
    assert_string_equal(log_quote(&text, SLICE("")), "\"\"");
    assert_string_equal(log_quote(&text, SLICE("plain /text 1")), "\"plain /text 1\"");
    assert_string_equal(log_quote(&text, SLICE("a\r\nb\0\x1b[31m\"\\\x7f\xc3")),
                        "\"a\\x0d\\x0ab\\x00\\x1b[31m\\x22\\x5c\\x7f\\xc3\"");
}

static void a_strangers_text_is_cut_within_its_room(void **state)
{
    char raw[400];

    (void)state;
    for (int byte = 0; byte < 256; byte += 'a') { /* escaped, plain, and escaped again */
        memset(raw, byte, sizeof raw);
        for (size_t len = 0; len < sizeof raw; len++) {
            struct log_text text;
            size_t quoted_len;
            memset(&text, 1, sizeof text);
            quoted_len = strlen(log_quote(&text, slice_make(raw, len)));
            assert_true(quoted_len < sizeof text.text);
            assert_int_equal(text.text[quoted_len - 1], '"');
            if (len > 160)
                assert_memory_equal(text.text + quoted_len - 4, "...\"", 4);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_process_and_event, begin, end),
        cmocka_unit_test_setup_teardown(what_is_below_the_level_is_not_written, begin, end),
        cmocka_unit_test_setup_teardown(levels_have_names_and_other_names_change_nothing, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_line_is_cut_and_still_ends, begin, end),
        cmocka_unit_test_setup_teardown(logging_leaves_errno_alone, begin, end),
        cmocka_unit_test(a_strangers_text_cannot_forge_a_line),
        cmocka_unit_test(a_strangers_text_is_cut_within_its_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
