/* common/buf: a buffer that grows to its bound and no further. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/buf.h"

#include <stdlib.h>

static void what_is_added_is_there_in_order(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    assert_string_equal(buf_text(&buf), "");
    assert_int_equal(buf_add_text(&buf, "a"), OK);
    assert_int_equal(buf_add_slice(&buf, SLICE("bc")), OK);
    assert_int_equal(buf_add_char(&buf, 'd'), OK);
    assert_int_equal(buf_addf(&buf, "%d-%s", 5, "e"), OK);
    assert_int_equal(buf_add(&buf, NULL, 0), OK);
    assert_string_equal(buf_text(&buf), "abcd5-e");
    assert_int_equal(buf.len, 7);
    assert_true(slice_equal(buf_slice(&buf), SLICE("abcd5-e")));
    buf_fini(&buf);
}

static void it_grows_to_its_bound_exactly(void **state)
{
    (void)state;
    for (size_t bound = 0; bound < 300; bound++) {
        struct buf buf;
        buf_init(&buf, bound);
        for (size_t i = 0; i < bound; i++)
            assert_int_equal(buf_add_char(&buf, 'x'), OK);
        assert_false(buf.failed);
        assert_int_equal(buf_add_char(&buf, 'y'), ERR_FULL);
        assert_true(buf.failed);
        assert_int_equal(buf.len, bound);
        assert_true(buf.size <= bound);
        buf_fini(&buf);
    }
}

static void a_failed_append_changes_nothing_but_is_remembered(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 8);
    assert_int_equal(buf_add_text(&buf, "12345"), OK);
    assert_int_equal(buf_add_text(&buf, "6789"), ERR_FULL);
    assert_int_equal(buf_addf(&buf, "%s", "6789"), ERR_FULL);
    assert_int_equal(buf_add_text(&buf, "678"), OK);
    assert_true(buf.failed);
    assert_true(slice_equal(buf_slice(&buf), SLICE("12345678")));
    assert_int_equal(buf_reserve(&buf, SIZE_MAX), ERR_FULL);
    buf_reset(&buf);
    assert_false(buf.failed);
    assert_int_equal(buf.len, 0);
    buf_fini(&buf);
}

static void integers_are_written_exactly(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    buf_add_int(&buf, 0);
    buf_add_char(&buf, ' ');
    buf_add_int(&buf, -7);
    buf_add_char(&buf, ' ');
    buf_add_int(&buf, INT64_MAX);
    buf_add_char(&buf, ' ');
    buf_add_int(&buf, INT64_MIN);
    assert_string_equal(buf_text(&buf), "0 -7 9223372036854775807 -9223372036854775808");
    buf_fini(&buf);
}

static void dropping_takes_from_the_front(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 100);
    buf_add_text(&buf, "abcdef");
    buf_drop(&buf, 0);
    assert_string_equal(buf_text(&buf), "abcdef");
    buf_drop(&buf, 2);
    assert_string_equal(buf_text(&buf), "cdef");
    buf_drop(&buf, 100);
    assert_string_equal(buf_text(&buf), "");
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_there_in_order),
        cmocka_unit_test(it_grows_to_its_bound_exactly),
        cmocka_unit_test(a_failed_append_changes_nothing_but_is_remembered),
        cmocka_unit_test(integers_are_written_exactly),
        cmocka_unit_test(dropping_takes_from_the_front),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
