#include "common/arena.h"

#include <stdint.h>
#include <stdlib.h>

struct arena_extra {
    struct arena_extra *next;
    _Alignas(16) char bytes[];
};

void arena_init(struct arena *arena, size_t size)
{
    *arena = (struct arena){ .size = size };
}

void arena_reset(struct arena *arena)
{
    while (arena->extra) {
        struct arena_extra *extra = arena->extra;
        arena->extra = extra->next;
        free(extra);
    }
    arena->used = 0;
    arena->failed = false;
}

void arena_fini(struct arena *arena)
{
    arena_reset(arena);
    free(arena->block);
    arena->block = NULL;
}

static void *take_nothing(struct arena *arena)
{
    arena->failed = true;
    return NULL;
}

static void *take_extra(struct arena *arena, size_t len)
{
    struct arena_extra *extra;

    if (len > SIZE_MAX - sizeof *extra)
        return take_nothing(arena);
    extra = malloc(sizeof *extra + len);
    if (!extra)
        return take_nothing(arena);
    extra->next = arena->extra;
    arena->extra = extra;
    return extra->bytes;
}

void *arena_take(struct arena *arena, size_t len)
{
    size_t start = (arena->used + 15) & ~(size_t)15;

    if (!arena->block && !(arena->block = malloc(arena->size)))
        return take_nothing(arena);
    if (start > arena->size || len > arena->size - start)
        return take_extra(arena, len);
    arena->used = start + len;
    return arena->block + start;
}
