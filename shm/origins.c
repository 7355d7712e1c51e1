/*
 * Connections per address of origin: a column of counts a worker, with open addressing.
 *
 * Only the worker writes its column. A key whose count has gone to 0 stays as a stepping stone for
 * probes until its cell is used again, or until nothing lies behind the cell. A probe visits at
 * most PROBE_MAX cells, for readers and the writer alike.
 */
#include "shm/origins.h"
#include "shm/layout.h"

#include "common/hash.h"

#include <string.h>

enum {
    PROBE_MAX = 128,
    ORIGIN_IPV4 = 4, /* first byte of the hash's input, so that no IPv4 address equals a /64 */
    ORIGIN_IPV6 = 6,
};

static uint64_t hash_origin(const struct region *region, uint8_t kind, const void *bytes,
                            size_t len)
{
    uint8_t input[1 + 8];
    uint64_t key;

    assert(len <= sizeof input - 1);
    input[0] = kind;
    memcpy(input + 1, bytes, len);
    key = hash64(region_hash_key(region), input, 1 + len);
    return key != 0 ? key : 1; /* 0 marks an empty cell */
}

uint64_t origins_key(const struct region *region, const struct ip *peer)
{
    if (peer->kind == IP_V4)
        return hash_origin(region, ORIGIN_IPV4, peer->bytes, 4);
    return peer->kind == IP_V6 ? hash_origin(region, ORIGIN_IPV6, peer->bytes, 8) : 0;
}

static uint32_t cell_of(const struct region *region, uint64_t key, uint32_t step)
{
    return (uint32_t)((key + step) & ((UINT64_C(1) << region->layout.origin_bits) - 1));
}

/* ---- the column's own worker ---- */

static uint64_t key_at(const struct shared_origin *origin)
{
    return atomic_load_explicit(&origin->key, memory_order_acquire);
}

static uint32_t count_at(const struct shared_origin *origin)
{
    return atomic_load_explicit(&origin->count, memory_order_acquire);
}

static void set_key(struct shared_origin *origin, uint64_t key)
{
    atomic_store_explicit(&origin->key, key, memory_order_release);
}

static void set_count(struct shared_origin *origin, uint32_t count)
{
    atomic_store_explicit(&origin->count, count, memory_order_release);
}

/* Returns the cell of the key, or else the first cell that is free for the key; NULL when there is
 * none. */
static struct shared_origin *find_cell(const struct region *region, uint32_t slot, uint64_t key)
{
    struct shared_origin *origins = region_origins(region, slot);
    struct shared_origin *vacant = NULL;

    for (uint32_t step = 0; step < PROBE_MAX; step++) {
        struct shared_origin *origin = &origins[cell_of(region, key, step)];

        if (key_at(origin) == key)
            return origin;
        if (!vacant && count_at(origin) == 0)
            vacant = origin;
        if (key_at(origin) == 0)
            break;
    }
    return vacant;
}

enum err origins_add(struct region *region, uint32_t slot, uint64_t key)
{
    struct shared_origin *origin;

    if (key == 0)
        return OK;
    origin = find_cell(region, slot, key);
    if (!origin)
        return ERR_FULL;
    if (key_at(origin) != key)
        set_key(origin, key); /* the count is 0, so no reader counts the wrong key meanwhile */
    set_count(origin, count_at(origin) + 1);
    return OK;
}

/* Empties the stepping stones with nothing behind them, so that probes stay short. */
static void empty_tail(const struct region *region, uint32_t slot, struct shared_origin *last)
{
    struct shared_origin *origins = region_origins(region, slot);
    uint64_t at = (uint64_t)(last - origins);

    if (key_at(&origins[cell_of(region, at, 1)]) != 0)
        return;
    for (int i = 0; i < PROBE_MAX; i++) {
        struct shared_origin *origin = &origins[cell_of(region, at, 0)];

        if (key_at(origin) == 0 || count_at(origin) != 0)
            return;
        set_key(origin, 0);
        at--;
    }
}

void origins_remove(struct region *region, uint32_t slot, uint64_t key)
{
    struct shared_origin *origin;

    if (key == 0)
        return;
    origin = find_cell(region, slot, key);
    assert(origin && key_at(origin) == key && count_at(origin) > 0);
    set_count(origin, count_at(origin) - 1);
    if (count_at(origin) == 0)
        empty_tail(region, slot, origin);
}

/* ---- anyone ---- */

/* A count belongs to the key only when the cell has that key before and after the read. */
static uint32_t count_in_column(const struct region *region, uint32_t slot, uint64_t key)
{
    const struct shared_origin *origins = region_origins(region, slot);

    for (uint32_t step = 0; step < PROBE_MAX; step++) {
        const struct shared_origin *origin = &origins[cell_of(region, key, step)];
        uint64_t found = key_at(origin);
        uint32_t count;

        if (found == 0)
            return 0;
        if (found != key)
            continue;
        count = count_at(origin);
        return key_at(origin) == key ? count : 0;
    }
    return 0;
}

uint32_t origins_count(const struct region *region, uint64_t key)
{
    uint32_t used = region_slots_used(region);
    uint64_t sum = 0;

    if (key == 0)
        return 0;
    for (uint32_t slot = 0; slot < used; slot++) {
        uint64_t incarnation = slot_incarnation(region, slot);
        uint32_t count;

        if (incarnation == 0)
            continue;
        count = count_in_column(region, slot, key);
        if (slot_incarnation(region, slot) == incarnation)
            sum += count;
    }
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* ---- the master, of a dead worker ---- */

void origins_purge(struct region *region, uint32_t slot)
{
    region_clear(region, column_at(&region->layout, slot), region->layout.column_size);
}
