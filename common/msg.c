/*
 * Messages, and where their memory comes from.
 *
 * Small messages come and go by the million, many at a time, which is more than malloc's per-thread
 * cache holds. So the memory of small messages waits in pools, one for each size, for its next use.
 * The memory that was freed last, and is still in the processor's cache, is used first. A process
 * of the server has one thread, so there are no locks.
 */
#include "common/msg.h"

#include <assert.h>
#include <stdlib.h>

enum {
    POOL_NONE, /* not pooled: malloc and free */
    POOL_COUNT = 9,
    POOL_SIZE_FIRST = 96, /* bytes of a message of pool 1, struct msg included; each pool has twice
                             the size of the one before */
    POOL_BYTES_MAX = 64 * 1024 /* that each pool keeps */
};

/* The memory of a message that waits in a pool. */
struct idle {
    struct idle *next;
};

static struct pool {
    struct idle *first;
    uint32_t count;
} pools[POOL_COUNT];

#if defined(__SANITIZE_ADDRESS__)
#define POOLED false /* the sanitizer shall see every use after free */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOLED false
#endif
#endif
#ifndef POOLED
#define POOLED true
#endif

static size_t pool_size(unsigned pool)
{
    return (size_t)POOL_SIZE_FIRST << (pool - 1);
}

/* The pool of the smallest messages of at least `size` bytes; POOL_NONE when size is too large for
 * all. */
static inline unsigned pool_for(size_t size)
{
    unsigned pool = 1;

    while (pool < POOL_COUNT && size > pool_size(pool))
        pool++;
    return POOLED && pool < POOL_COUNT ? pool : POOL_NONE;
}

static inline struct msg *take_memory(unsigned pool, size_t size)
{
    struct idle *idle = pools[pool].first;

    if (pool == POOL_NONE)
        return malloc(size);
    if (!idle)
        return malloc(pool_size(pool));
    pools[pool].first = idle->next;
    pools[pool].count--;
    return (struct msg *)idle;
}

static inline void give_back(struct msg *msg)
{
    struct pool *pool = &pools[msg->pool];
    struct idle *idle = (struct idle *)msg;

    if (msg->pool == POOL_NONE || pool->count >= POOL_BYTES_MAX / pool_size(msg->pool)) {
        free(msg);
        return;
    }
    idle->next = pool->first;
    pool->first = idle;
    pool->count++;
}

struct msg *msg_make(size_t len, enum msg_kind kind, int level)
{
    size_t size = sizeof(struct msg) + len;
    unsigned pool = pool_for(size);
    struct msg *msg;

    if (len > UINT32_MAX)
        return NULL;
    msg = take_memory(pool, size);
    if (!msg)
        return NULL;
    *msg = (struct msg){ .refs = 1,
                         .len = (uint32_t)len,
                         .level = (int8_t)level,
                         .kind = (uint8_t)kind,
                         .opcode = 1,
                         .pool = (uint8_t)pool };
    return msg;
}

struct msg *msg_new(struct slice payload, enum msg_kind kind, int level)
{
    struct msg *msg = msg_make(payload.len, kind, level);

    if (msg && payload.len)
        memcpy(msg->data, payload.data, payload.len);
    return msg;
}

struct msg *msg_ref(struct msg *msg)
{
    msg->refs++;
    return msg;
}

/* Not inlined: most calls of msg_unref drop a reference that is not the last, and must stay cheap.
 */
static __attribute__((noinline)) void msg_end(struct msg *msg)
{
    if (msg->packed)
        msg_unref(msg->packed);
    give_back(msg);
}

void msg_unref(struct msg *msg)
{
    if (!msg)
        return;
    assert(msg->refs > 0);
    if (--msg->refs == 0)
        msg_end(msg);
}
