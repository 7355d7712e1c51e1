/* common/arena: memory of one message, apart from each other, all gone with one reset. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/arena.h"

#include <string.h>

static void pieces_are_aligned_and_apart(void **state)
{
    struct arena arena;
    unsigned char *pieces[64];

    (void)state;
    arena_init(&arena, 512); /* the last pieces do not fit it */
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 64; i++) {
            pieces[i] = arena_take(&arena, i);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], (int)i, i);
        }
        for (size_t i = 0; i < 64; i++)
            for (size_t k = 0; k < i; k++)
                assert_int_equal(pieces[i][k], i);
        arena_reset(&arena);
    }
    arena_fini(&arena);
}

static void a_reset_gives_the_same_block_again(void **state)
{
    struct arena arena;
    void *first;

    (void)state;
    arena_init(&arena, 256);
    first = arena_take(&arena, 100);
    assert_ptr_equal((char *)arena_take(&arena, 144) - (char *)first, 112); /* to the last byte */
    assert_non_null(arena.block);
    assert_null(arena.extra);
    assert_non_null(arena_take(&arena, 1));
    assert_non_null(arena.extra);
    arena_reset(&arena);
    assert_null(arena.extra);
    assert_ptr_equal(arena_take(&arena, 1), first);
    arena_fini(&arena);
}

static void impossible_sizes_are_refused(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 256);
    assert_null(arena_take(&arena, SIZE_MAX));
    assert_null(arena_take(&arena, SIZE_MAX - 8));
    assert_non_null(arena_take(&arena, 256));
    arena_fini(&arena);
    arena_fini(&arena); /* twice does no harm */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(a_reset_gives_the_same_block_again),
        cmocka_unit_test(impossible_sizes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
