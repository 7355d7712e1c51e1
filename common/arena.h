/*
 * Bump memory for one message: everything parsed from it lies here and goes with one reset.
 *
 * An arena owns one block, which every message uses again. Larger messages get more memory from
 * malloc, which the reset frees.
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_extra;
struct arena {
    char *block;
    size_t used, size;
    struct arena_extra *extra; /* allocations that did not fit into block, newest first */
    bool failed;               /* an arena_take has returned NULL since the last reset */
};

/* size: bytes of the block, which the first arena_take allocates. */
void arena_init(struct arena *arena, size_t size);
void arena_fini(struct arena *arena);
void arena_reset(struct arena *arena);
/* Returns len bytes, 16-byte aligned and not cleared, owned by the arena until the next reset; NULL
 * when out of memory. */
void *arena_take(struct arena *arena, size_t len);

#endif
