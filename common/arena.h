/*
 * Bump memory for one message: everything parsed from it lies here and goes with one reset.
 *
 * It owns one block that is reused; what does not fit is taken from malloc and freed by the reset.
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stddef.h>

struct arena_extra;
struct arena {
    char *block;
    size_t used, size;
    struct arena_extra *extra; /* what did not fit, newest first */
};

/* size: of the block, made by the first allocation. */
void arena_init(struct arena *arena, size_t size);
void arena_fini(struct arena *arena);
void arena_reset(struct arena *arena);
/* 16-byte aligned, not cleared; NULL when out of memory. Lives until the next reset. */
void *arena_take(struct arena *arena, size_t len);

#endif
