/* common/slice: absent is not empty, and nothing is read that is not there. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/slice.h"

static void absent_is_not_empty_but_as_long(void **state)
{
    (void)state;
    assert_null(slice_of(NULL).data);
    assert_non_null(slice_of("").data);
    assert_int_equal(slice_of(NULL).len, 0);
    assert_true(slice_equal(slice_of(NULL), SLICE("")));
    assert_int_equal(SLICE("a\0b").len, 3);
}

static void bytes_decide_equality(void **state)
{
    (void)state;
    assert_true(slice_equal(SLICE("abc"), slice_make("abcd", 3)));
    assert_false(slice_equal(SLICE("abc"), SLICE("abd")));
    assert_false(slice_equal(SLICE("abc"), SLICE("ab")));
    assert_false(slice_equal(SLICE("a\0b"), SLICE("a\0c")));
}

static void every_text_starts_with_nothing(void **state)
{
    (void)state;
    assert_true(slice_starts(SLICE("abc"), SLICE("")));
    assert_true(slice_starts(SLICE("abc"), slice_of(NULL)));
    assert_true(slice_starts(slice_of(NULL), slice_of(NULL)));
    assert_true(slice_starts(SLICE("abc"), SLICE("abc")));
    assert_false(slice_starts(SLICE("ab"), SLICE("abc")));
    assert_false(slice_starts(SLICE("xbc"), SLICE("a")));
}

static void only_ascii_letters_have_two_cases(void **state)
{
    (void)state;
    assert_true(slice_equal_nocase(SLICE("Upgrade"), SLICE("uPGRADE")));
    assert_true(slice_equal_nocase(SLICE("az-AZ"), SLICE("AZ-az")));
    assert_false(slice_equal_nocase(SLICE("@["), SLICE("`{"))); /* beside the letters */
    assert_false(slice_equal_nocase(SLICE("a"), SLICE("ab")));
    assert_false(slice_equal_nocase(SLICE("\xc3\xa9"), SLICE("\xc3\x89")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_is_not_empty_but_as_long),
        cmocka_unit_test(bytes_decide_equality),
        cmocka_unit_test(every_text_starts_with_nothing),
        cmocka_unit_test(only_ascii_letters_have_two_cases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
