/* common/grow: an array grows by doubling, to its limit, and keeps its items. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/grow.h"

#include <stdlib.h>

struct item {
    uint64_t number;
    char text[5];
};

static void the_first_allocation_holds_first_items(void **state)
{
    struct item *items = NULL;
    uint32_t size = 0;

    (void)state;
    assert_int_equal(grow_reserve(&items, &size, 1, 16, SIZE_MAX), OK);
    assert_non_null(items);
    assert_int_equal(size, 16);
    free(items);
}

static void items_keep_their_values_and_sizes_double(void **state)
{
    static const size_t sizes[] = { 4, 8, 16, 32, 64, 128 };
    struct item *items = NULL;
    size_t size = 0, steps = 0;

    (void)state;
    for (size_t count = 0; count < 100; count++) {
        size_t before = size;
        assert_int_equal(grow_reserve(&items, &size, count + 1, 4, SIZE_MAX), OK);
        if (size != before)
            assert_int_equal(size, sizes[steps++]);
        items[count].number = count;
    }
    assert_int_equal(steps, 6);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(items[i].number, i);
    free(items);
}

static void an_array_with_room_is_left_alone(void **state)
{
    struct item room[4], *items = room;
    uint32_t size = 4;

    (void)state;
    assert_int_equal(grow_reserve(&items, &size, 0, 1, 4), OK);
    assert_int_equal(grow_reserve(&items, &size, 4, 1, 4), OK);
    /* A lowered limit takes nothing away. */
    assert_int_equal(grow_reserve(&items, &size, 4, 1, 2), OK);
    assert_ptr_equal(items, room);
    assert_int_equal(size, 4);
}

static void many_items_at_once_are_one_allocation(void **state)
{
    struct item *items = NULL;
    uint32_t size = 0;

    (void)state;
    assert_int_equal(grow_reserve(&items, &size, 1000, 16, SIZE_MAX), OK);
    assert_int_equal(size, 1024);
    free(items);
}

static void the_limit_is_reached_and_never_passed(void **state)
{
    struct item *items = NULL, *before;
    uint32_t size = 0;

    (void)state;
    assert_int_equal(grow_reserve(&items, &size, 5, 4, 10), OK);
    assert_int_equal(size, 8);
    assert_int_equal(grow_reserve(&items, &size, 9, 4, 10), OK);
    assert_int_equal(size, 10);
    before = items;
    assert_int_equal(grow_reserve(&items, &size, 11, 4, 10), ERR_FULL);
    assert_ptr_equal(items, before);
    assert_int_equal(size, 10);
    free(items);
}

static void a_limit_below_the_first_size_holds(void **state)
{
    char *items = NULL;
    size_t size = 0;

    (void)state;
    assert_int_equal(grow_reserve(&items, &size, 2, 64, 3), OK);
    assert_int_equal(size, 3);
    free(items);
}

static void more_than_memory_can_count_is_full(void **state)
{
    struct item *items = NULL;
    size_t size = 0;
    uint32_t small = 0;

    (void)state;
    assert_int_equal(grow_reserve(&items, &size, SIZE_MAX / sizeof *items + 1, 1, SIZE_MAX),
                     ERR_FULL);
    assert_int_equal(grow_reserve(&items, &size, SIZE_MAX, 1, SIZE_MAX), ERR_FULL);
    assert_int_equal(grow_reserve(&items, &small, (size_t)UINT32_MAX + 1, 1, SIZE_MAX), ERR_FULL);
    assert_null(items);
    assert_int_equal(size, 0);
    assert_int_equal(small, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_allocation_holds_first_items),
        cmocka_unit_test(items_keep_their_values_and_sizes_double),
        cmocka_unit_test(an_array_with_room_is_left_alone),
        cmocka_unit_test(many_items_at_once_are_one_allocation),
        cmocka_unit_test(the_limit_is_reached_and_never_passed),
        cmocka_unit_test(a_limit_below_the_first_size_holds),
        cmocka_unit_test(more_than_memory_can_count_is_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
