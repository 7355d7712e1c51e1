/*
 * Growing arrays: the one way in which an array in heap memory gets room for more items.
 *
 * The size doubles, so that adding n items copies at most 2 n of them. An array that cannot grow
 * stays as it was, with all its items. Nothing here ever shrinks or frees an array, and nothing
 * writes into the items: new room holds indeterminate values.
 */
#ifndef COMMON_GROW_H
#define COMMON_GROW_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Makes room for `count` items in all, those that are already there included:
 *
 *     if (grow_reserve(&nodes->live, &nodes->live_size, nodes->live_count + 1, 16, NODES_MAX))
 *         return ERR_NOMEM;
 *     nodes->live[nodes->live_count++] = live;
 *
 * items: the address of the pointer to the first item; that pointer is NULL while size is 0. It
 *        may move; the caller frees it with free().
 * size:  the address of the number of items that there is room for, a uint32_t or a size_t.
 * first: how many items the first allocation holds (max when that is less); never 0.
 * max:   how many items there may ever be room for. No size passes max.
 *
 * Returns OK, ERR_FULL when count is above max (or above what size or memory can count), ERR_NOMEM.
 */
#define grow_reserve(items, size, count, first, max)                                               \
    GROW_FUNCTION(size)((items), sizeof **(items), (size), (count), (first), (max))

/* The rest is only for the macro: items is the address of a pointer to items of item_size bytes. */
/* clang-format off */
#define GROW_FUNCTION(size) _Generic((size), uint32_t *: grow_reserve_u32, default: grow_reserve_size)
/* clang-format on */
enum err grow_more_u32(void *items, size_t item_size, uint32_t *size, size_t count, size_t first,
                       size_t max);
enum err grow_more_size(void *items, size_t item_size, size_t *size, size_t count, size_t first,
                        size_t max);

static inline enum err grow_reserve_u32(void *items, size_t item_size, uint32_t *size, size_t count,
                                        size_t first, size_t max)
{
    return count <= *size ? OK : grow_more_u32(items, item_size, size, count, first, max);
}

static inline enum err grow_reserve_size(void *items, size_t item_size, size_t *size, size_t count,
                                         size_t first, size_t max)
{
    return count <= *size ? OK : grow_more_size(items, item_size, size, count, first, max);
}

#endif
