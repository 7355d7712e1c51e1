#include "common/grow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The next size that holds count items; count <= max. */
static size_t next_size(size_t size, size_t count, size_t first, size_t max)
{
    if (size < first)
        size = first;
    while (size < count)
        size = size > max / 2 ? max : size * 2;
    return size < max ? size : max;
}

enum err grow_more_size(void *items, size_t item_size, size_t *size, size_t count, size_t first,
                        size_t max)
{
    size_t new_size;
    void *old, *grown;

    assert(first > 0);
    if (max > SIZE_MAX / item_size)
        max = SIZE_MAX / item_size;
    if (count > max)
        return ERR_FULL;
    new_size = next_size(*size, count, first, max);
    memcpy(&old, items, sizeof old); /* a pointer of any type is read and written as its bytes */
    grown = realloc(old, new_size * item_size);
    if (!grown)
        return ERR_NOMEM;
    memcpy(items, &grown, sizeof grown);
    *size = new_size;
    /* cppcheck-suppress memleak ; the caller's pointer has the memory, by memcpy */
    return OK;
}

enum err grow_more_u32(void *items, size_t item_size, uint32_t *size, size_t count, size_t first,
                       size_t max)
{
    size_t wide = *size;
    enum err err =
        grow_more_size(items, item_size, &wide, count, first, max < UINT32_MAX ? max : UINT32_MAX);

    *size = (uint32_t)wide;
    return err;
}
