/* The parts of worker/mailbox that need no Redis: names, answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/mailbox/mailbox_answer.h"
#include "worker/mailbox/mailbox_append.h"

#include <stdio.h>
#include <stdlib.h>

static void no_address_breaks_out_of_its_braces(void **state)
{
    struct buf key;

    (void)state;
    buf_init(&key, 4096);
    mailbox_key(&key, SLICE("po:"), SLICE("a}:{b%\r\n\x7f\0 \xc3\xa9"), ":box");
    assert_string_equal(buf_text(&key), "po:{a%7D:%7Bb%25%0D%0A%7F%00 \xc3\xa9}:box");
    buf_fini(&key);
}

static void long_and_odd_threads_get_a_short_name(void **state)
{
    char room[THREAD_KEY_MAX], text[200], other[THREAD_KEY_MAX];
    struct slice key, second;

    (void)state;
    memset(text, 'x', sizeof text);
    assert_int_equal(mailbox_thread_key((struct slice){ NULL, 0 }, room).len, 0);
    assert_true(slice_equal(mailbox_thread_key(SLICE("t1"), room), SLICE("t1")));
    assert_int_equal(mailbox_thread_key(slice_make(text, 64), room).len, 64);
    key = mailbox_thread_key(slice_make(text, 65), room);
    assert_int_equal(key.len, 41);
    assert_int_equal(key.data[0], '~');
    second = mailbox_thread_key(slice_make(text, 66), other);
    assert_false(slice_equal(key, second));
    assert_int_equal(mailbox_thread_key(SLICE("a\0b"), room).data[0], '~');
    assert_int_equal(mailbox_thread_key(SLICE("~a"), room).len, 41);
}

static void an_append_is_told_in_four_words(void **state)
{
    static const char *const damaged[] = { "",  "junk",  "junk 1-0",
                                           "-", "1-1-1", "18446744073709551616-0" };
    static const char good[] = "0 1700000000000-3 1699999999999-0 2";
    static const char *const bad[] = {
        "5 1-1 0-0 0",  "0 1-1 0-0",    "0 1-1",        "0",         "",
        " 0 1-1 0-0 0", "0  1-1 0-0 0", "-1 1-1 0-0 0", "0 x 0-0 0", "0 1-1 0-0 x"
    };
    struct mailbox_appended appended = { .outcome = MAILBOX_UNKNOWN };
    uint64_t trimmed;

    (void)state;
    assert_true(mailbox_append_parse(slice_of(good), &appended, &trimmed));
    assert_int_equal(appended.outcome, MAILBOX_STORED);
    assert_int_equal(appended.seq.n, 3);
    assert_int_equal(appended.before.ms, 1699999999999);
    assert_int_equal(trimmed, 2);
    assert_true(mailbox_append_parse(SLICE("3 0-0 0-0 0"), &appended, &trimmed));
    assert_int_equal(appended.outcome, MAILBOX_UNASKED);
    assert_true(mailbox_append_parse(SLICE("4 0-0 0-0 0"), &appended, &trimmed));
    assert_int_equal(appended.outcome, MAILBOX_NOBODY);
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "0 7-3 %s 2", damaged[i]);
        assert_true(mailbox_append_parse(slice_of(text), &appended, &trimmed));
        assert_int_equal(appended.outcome, MAILBOX_STORED);
        assert_true(appended.before.ms == 7 && appended.before.n == 3);
        assert_int_equal(trimmed, 2);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(mailbox_append_parse(slice_of(bad[i]), &appended, &trimmed));
    for (size_t len = 0; len + 1 < sizeof good - 1; len++) {
        char *prefix = malloc(len + 1); /* so that a byte read behind it is found */
        memcpy(prefix, good, len);
        (void)mailbox_append_parse(slice_make(prefix, len), &appended, &trimmed);
        free(prefix);
    }
}

static void the_time_that_an_address_stays_known_is_a_constant(void **state)
{
    const struct retention retention = { 10, 60, 300, 64, true, 1 << 20, 31536000 };
    char *text = mailbox_script(SCRIPT_OPEN, SLICE("host:0"), &retention);

    (void)state;
    assert_non_null(text);
    assert_non_null(strstr(text, "=10,true,60,300,64,1048576,31536000\n"));
    free(text);
}

static void each_worker_has_scripts_of_its_own(void **state)
{
    const struct retention retention = { 10, 60, 300, 64, true, 1 << 20, 0 };
    char *one = mailbox_script(SCRIPT_APPEND, SLICE("host:0"), &retention);
    char *two = mailbox_script(SCRIPT_APPEND, SLICE("host:1"), &retention);
    char *odd = mailbox_script(SCRIPT_APPEND, SLICE("a\nos.exit()"), &retention);
    char sha_one[SHA_HEX + 1], sha_two[SHA_HEX + 1];

    (void)state;
    assert_true(one && two && odd);
    mailbox_script_sha(one, sha_one);
    mailbox_script_sha(two, sha_two);
    assert_string_not_equal(sha_one, sha_two);
    assert_int_equal(strlen(sha_one), SHA_HEX);
    assert_non_null(strstr(one, "=10,true,60,300,64,1048576,false\n"));
    assert_null(strstr(odd, "\nos.exit"));
    free(one);
    free(two);
    free(odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_address_breaks_out_of_its_braces),
        cmocka_unit_test(long_and_odd_threads_get_a_short_name),
        cmocka_unit_test(an_append_is_told_in_four_words),
        cmocka_unit_test(the_time_that_an_address_stays_known_is_a_constant),
        cmocka_unit_test(each_worker_has_scripts_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
