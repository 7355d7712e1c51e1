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

static void a_full_pipe_costs_the_line_and_not_the_process(void **state)
{
    char filling[4096] = { 0 };
    uint64_t before = log_lines_dropped();
    int blocking[2];

    (void)state;
    assert_int_equal(pipe2(blocking, O_CLOEXEC), 0);
    fcntl(blocking[0], F_SETFL, O_NONBLOCK);
    fcntl(blocking[1], F_SETFL, O_NONBLOCK);
    while (write(blocking[1], filling, sizeof filling) > 0)
        ;
    fcntl(blocking[1], F_SETFL, 0); /* as a shell's pipe is */
    log_set_fd(blocking[1]);
    for (int i = 0; i < 10; i++)
        log_info("lost", "%s", "");
    assert_int_equal(log_lines_dropped() - before, 10);
    while (read(blocking[0], filling, sizeof filling) > 0)
        ;
    log_settle();
    memset(line, 0, sizeof line);
    assert_true(read(blocking[0], line, sizeof line - 1) > 0);
    assert_non_null(strstr(line, "event=log_lines_lost lines_lost_before=10"));
    log_settle(); /* says the count once */
    assert_int_equal(read(blocking[0], line, sizeof line), -1);
    log_set_fd(ends[1]);
    close(blocking[0]);
    close(blocking[1]);
}

static unsigned lines_of(const char *event)
{
    unsigned count = 0;

    for (const char *at = written(); (at = strstr(at, event)); at++)
        count++;
    return count;
}

static void a_line_that_comes_at_rate_is_written_once_a_second_with_its_count(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        log_rarely(LOG_WARN, "", "storm", "n=%d", i);
        log_rarely(LOG_WARN, "OOM", "kinds", "n=%d", i);
        log_rarely(LOG_WARN, "READONLY", "kinds", "n=%d", i);
    }
    assert_int_equal(lines_of("event="), 3); /* a kind hides no other kind */
    log_settle();
    assert_int_equal(lines_of("event="), 0);
    usleep(1050 * 1000);
    log_rarely(LOG_WARN, "", "storm", "n=%d", 3000);
    assert_non_null(strstr(written(), "event=storm held_back=2999 n=3000"));
    log_settle();
    written();
    assert_non_null(strstr(line, "event=log_lines_held_back of=kinds kind=OOM lines=2999"));
    assert_null(strstr(line, "of=storm"));
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
        cmocka_unit_test_setup_teardown(a_full_pipe_costs_the_line_and_not_the_process, begin, end),
        cmocka_unit_test_setup_teardown(
            a_line_that_comes_at_rate_is_written_once_a_second_with_its_count, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
