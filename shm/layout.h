/*
 * The layout of the shared mapping, for the .c files of shm/ and their tests only.
 *
 * Every word that more than one process sees is an atomic with one writer, named beside the word.
 * Nothing is initialised: a page that was never touched reads as zeros and costs no memory, so zero
 * always means "empty" (links are an index + 1, state 0 is absent, incarnation 0 is dead).
 *
 * A process uses the offsets in its own struct region, computed from sessions_max, never numbers
 * that another process could have overwritten.
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include "shm/about.h"
#include "shm/certs.h"
#include "shm/histograms.h"
#include "shm/region.h"
#include "shm/ring.h"
#include "shm/sessions.h"
#include "shm/slots.h"
#include "shm/stats.h"
#include "shm/storage.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
               "a lock hidden in an atomic would not work across processes");

typedef _Atomic uint64_t shared_u64;
typedef _Atomic uint32_t shared_u32;

enum {
    LAYOUT_VERSION = 8,
    LAYOUT_PAGE = 4096, /* the unit of region_protect; a larger system page is refused */
    NODE_BYTES = 256,
    BUCKET_BITS_MIN = 9, /* one page of heads */
    BUCKET_BITS_MAX = 28,
    ORIGIN_BITS_MIN = 12,
    ORIGIN_BITS_MAX = 18,
    CACHE_LINE = 64,
    GROUPS_MIN = 1024,     /* rows of groups on one worker, however few sessions */
    FOLD_TRIES_MAX = 1000, /* a master killed in the middle of a move must not stop `status` */
};

/* First page. Written by region_create before anybody else can see it, constant from then on. */
struct shared_header {
    char magic[16];
    uint32_t version, sessions_max;
    uint64_t size; /* of the whole mapping */
    uint8_t hash_key[16];
};

struct master_row {         /* the master's row about one worker slot */
    shared_u64 incarnation; /* 0: dead */
    shared_u64 started_ms;
    shared_u32 pid;
    shared_u32 is_clerk; /* 1: the process serves operators and backends, no clients */
};

/* Written by the master only. */
struct master_area {
    shared_u32 pid;
    shared_u32 slots_used; /* slots at and above this one have never lived */
    shared_u64 started_ms, config_generation, restarts;
    shared_u64 incarnation_last; /* the newest incarnation of all slots */
    shared_u64 fold_version;     /* odd while counters move from a worker's row to `retired` */
    char node[NODE_BYTES];       /* set before the first fork */
    _Alignas(64) struct master_row rows[WORKERS_MAX];
    _Alignas(64) shared_u64 retired[STAT_COUNT];
};
_Static_assert(sizeof(struct master_area) <= LAYOUT_PAGE,
               "one page, so that it is protected as one");

struct histogram_words {
    shared_u64 buckets[HISTOGRAM_BUCKETS];
    shared_u64 sum_ns;
};

/* Written by the master only. */
struct master_histograms {
    struct histogram_words retired[HISTOGRAM_COUNT];
};
_Static_assert(sizeof(struct master_histograms) <= LAYOUT_PAGE, "one page");

struct stats_row {
    shared_u64 counters[STAT_COUNT];
    struct histogram_words histograms[HISTOGRAM_COUNT];
};

/* One page a worker, written by that worker, and zeroed by the master after the worker's death. */
struct worker_page {
    shared_u64 heartbeat_ms;
    shared_u32 state;
    shared_u32 sessions_high_water; /* rows of its slab that were ever used: bounds the purge */
    _Alignas(64) shared_u32 claims; /* seats that the worker holds or tries for (slot_seat_take) */
    shared_u32 sessions;            /* seats it holds */
    shared_u32 pending;
    shared_u32 redis; /* enum worker_redis */
    _Alignas(64) struct stats_row stats;
};
_Static_assert((size_t)CACHE_LINE *WORKERS_MAX == LAYOUT_PAGE,
               "a page of ring heads or tails is full");
_Static_assert(sizeof(struct worker_page) <= LAYOUT_PAGE, "rows of two workers share no page");

/* One published session: two cache lines, and a walk along a chain touches only the first. */
struct shared_session {
    _Alignas(128) shared_u32 next; /* the next of its bucket's chain: index + 1; 0: none */
    shared_u32 device_len;
    shared_u64 key_lo, key_hi;
    shared_u64 number, since_ns;
    shared_u64 incarnation; /* of the worker that wrote it */
    shared_u64 device[DEVICE_BYTES_MAX / 8];
};
_Static_assert(sizeof(struct shared_session) == 128, "two cache lines");

struct shared_origin {
    shared_u64 key;   /* 0: never used, ends a probe */
    shared_u32 count; /* 0 with a key: free, but a probe goes on behind this cell */
    uint32_t unused;
};
_Static_assert(sizeof(struct shared_origin) == 16, "four to a cache line");

/* Written by the master only. */
struct shared_certs {
    shared_u32 version; /* odd while the master writes */
    uint32_t count;
    struct cert_view certs[CERTS_MAX];
};

/* Written by the master only. */
struct shared_storage {
    shared_u32 version; /* odd while the master writes */
    uint32_t unused;
    struct storage_view view;
};

/* Written by the master only. */
struct shared_about {
    shared_u32 version; /* odd while the master writes */
    struct about about;
};

struct layout {
    uint32_t sessions_max;
    uint32_t groups_max; /* rows of groups on one worker */
    uint32_t rows_max;   /* rows of a slab: sessions and groups together */
    uint32_t bucket_bits, map_bits, origin_bits;
    size_t master_at, histograms_at, certs_at, storage_at, about_at, workers_at, map_at;
    size_t slabs_at, slab_size, slab_sessions_at; /* a slab: bucket heads, then sessions */
    size_t columns_at, column_size;
    size_t ring_heads_at, ring_tails_at, ring_bytes_at, ring_size; /* shm/ring.c */
    size_t size;
    size_t dense; /* memory used when the slab of one worker is full */
};

/* What the master has written into its part, in the master's private memory: the shared words are
 * for readers, and the master never believes them. */
struct master_truth {
    struct shared_header header;
    struct master_area area;
    struct master_histograms histograms;
};

struct region {
    uint8_t *base;
    int fd;                     /* -1 in a worker: there the walls of region_protect stand */
    struct master_truth *truth; /* of region_create; NULL in region_attach's */
    uint64_t mended;            /* words mended since region_take_mended */
    int doorbells[WORKERS_MAX]; /* eventfds, one a slot; -1 in region_attach's */
    struct layout layout;
};

/* Pure. sessions_max is at most 1 << BUCKET_BITS_MAX. */
struct layout region_layout(uint32_t sessions_max);
/* Master only: compares the master's part of shared memory with the truth, and writes words that
 * differ again. */
void region_mend(struct region *region);
/* Master only: writes one word of the master's area or histograms, and the truth about the word. */
void region_keep_u32(struct region *region, shared_u32 *word, uint32_t value);
void region_keep_u64(struct region *region, shared_u64 *word, uint64_t value);
/* Master only, for memory of a dead worker: fills with zeros and gives the memory back. */
void region_clear(struct region *region, size_t at, size_t len);
/* Master only, for a dead worker: empties its part of the session table, and of the origins. */
void sessions_purge(struct region *region, uint32_t slot);
void origins_purge(struct region *region, uint32_t slot);
/* Master only, for a dead worker: adds its counters to the retired row, and sets its row to
 * zero. */
void stats_retire(struct region *region, uint32_t slot);
/* The same for its histograms; between the two moves of fold_version. */
void histograms_retire(struct region *region, uint32_t slot);

static inline void *region_at(const struct region *region, size_t at)
{
    return region->base + at;
}

static inline const struct shared_header *region_header(const struct region *region)
{
    return region_at(region, 0);
}

static inline struct master_area *region_master(const struct region *region)
{
    return region_at(region, region->layout.master_at);
}

static inline struct master_area *region_truth(const struct region *region)
{
    assert(region->truth); /* only the master asks */
    return &region->truth->area;
}

static inline struct shared_about *region_about(const struct region *region)
{
    return region_at(region, region->layout.about_at);
}

static inline struct master_histograms *region_histograms(const struct region *region)
{
    return region_at(region, region->layout.histograms_at);
}

static inline const struct master_histograms *region_truth_histograms(const struct region *region)
{
    assert(region->truth); /* only the master asks */
    return &region->truth->histograms;
}

/* A sum over workers begins: fold_moved says whether the sum has to begin again, because a dead
 * worker's words moved to the master's meanwhile. */
static inline uint64_t fold_look(const struct region *region)
{
    return atomic_load_explicit(&region_master(region)->fold_version, memory_order_acquire);
}

static inline bool fold_moved(const struct region *region, uint64_t version)
{
    atomic_thread_fence(memory_order_acquire);
    return version % 2 != 0 || atomic_load_explicit(&region_master(region)->fold_version,
                                                    memory_order_relaxed) != version;
}

static inline struct shared_certs *region_certs(const struct region *region)
{
    return region_at(region, region->layout.certs_at);
}

static inline struct shared_storage *region_storage(const struct region *region)
{
    return region_at(region, region->layout.storage_at);
}

static inline size_t worker_page_at(const struct layout *layout, uint32_t slot)
{
    assert(slot < WORKERS_MAX);
    return layout->workers_at + (size_t)slot * LAYOUT_PAGE;
}

static inline struct worker_page *region_worker(const struct region *region, uint32_t slot)
{
    return region_at(region, worker_page_at(&region->layout, slot));
}

static inline shared_u64 *region_map(const struct region *region)
{
    return region_at(region, region->layout.map_at);
}

static inline size_t slab_at(const struct layout *layout, uint32_t slot)
{
    assert(slot < WORKERS_MAX);
    return layout->slabs_at + (size_t)slot * layout->slab_size;
}

static inline shared_u64 *region_buckets(const struct region *region, uint32_t slot)
{
    return region_at(region, slab_at(&region->layout, slot));
}

static inline struct shared_session *region_sessions(const struct region *region, uint32_t slot)
{
    const struct layout *layout = &region->layout;

    return region_at(region, slab_at(layout, slot) + layout->slab_sessions_at);
}

static inline size_t column_at(const struct layout *layout, uint32_t slot)
{
    assert(slot < WORKERS_MAX);
    return layout->columns_at + (size_t)slot * layout->column_size;
}

static inline struct shared_origin *region_origins(const struct region *region, uint32_t slot)
{
    return region_at(region, column_at(&region->layout, slot));
}

/* A page a writer, a cache line a ring: written by the writer alone. */
static inline size_t ring_heads_at(const struct layout *layout, uint32_t from)
{
    assert(from < WORKERS_MAX);
    return layout->ring_heads_at + (size_t)from * LAYOUT_PAGE;
}

/* A page a reader, a cache line a ring: written by the reader alone. */
static inline size_t ring_tails_at(const struct layout *layout, uint32_t to)
{
    assert(to < WORKERS_MAX);
    return layout->ring_tails_at + (size_t)to * LAYOUT_PAGE;
}

/* All rings of a writer lie side by side. */
static inline size_t ring_bytes_at(const struct layout *layout, uint32_t from, uint32_t to)
{
    assert(from < WORKERS_MAX && to < WORKERS_MAX);
    return layout->ring_bytes_at + ((size_t)from * WORKERS_MAX + to) * layout->ring_size;
}

/* Returns the number of slots that a reader must visit; at most WORKERS_MAX, whatever the shared
 * word says. */
static inline uint32_t region_slots_used(const struct region *region)
{
    uint32_t used = atomic_load(&region_master(region)->slots_used);

    return used < WORKERS_MAX ? used : (uint32_t)WORKERS_MAX;
}

#endif
