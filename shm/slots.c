/*
 * Worker rows and seats.
 *
 * An incarnation is a number given to one worker process and never again. Whatever a worker leaves
 * in shared memory counts only while its slot has the worker's incarnation. So one store of 0 by
 * the master makes all of that absent at once, and the purge may take its time.
 */
#include "shm/layout.h"

#include "common/clock.h"

#include <sched.h>
#include <string.h>
#include <sys/random.h>

enum { SEAT_TRIES_MAX = 1000 };

static uint32_t read_u32(const shared_u32 *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static uint64_t read_u64(const shared_u64 *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void write_u32(shared_u32 *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static void write_u64(shared_u64 *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static struct master_row *master_row(const struct region *region, uint32_t slot)
{
    assert(slot < WORKERS_MAX);
    return &region_master(region)->rows[slot];
}

uint64_t slot_incarnation(const struct region *region, uint32_t slot)
{
    return read_u64(&master_row(region, slot)->incarnation);
}

/* ---- the master ---- */

/* Other hosts know workers by node, slot and incarnation, and remember them for a while. The upper
 * half of a server's incarnations is random, so that a former server's traces are never taken for
 * its successor's. An incarnation has at most 53 bits: no reader of JSON rounds it. */
static uint64_t random_run(void)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (uint32_t)clock_monotonic_ns();
    return (uint64_t)(random >> 11) << 32;
}

void slots_master_set(struct region *region, int32_t pid, const char *node)
{
    struct master_area *master = region_master(region);
    size_t len = strnlen(node, NODE_BYTES - 1);

    memcpy(region_truth(region)->node, node, len);
    memcpy(master->node, region_truth(region)->node, NODE_BYTES);
    region_keep_u32(region, &master->pid, (uint32_t)pid);
    region_keep_u64(region, &master->started_ms, clock_monotonic_ms());
    region_keep_u64(region, &master->config_generation, 1);
    region_keep_u64(region, &master->incarnation_last, random_run());
}

static void count_up(struct region *region, shared_u64 *word, uint64_t before)
{
    region_keep_u64(region, word, before + 1);
}

void slots_config_applied(struct region *region)
{
    count_up(region, &region_master(region)->config_generation,
             region_truth(region)->config_generation);
}

void slots_count_restart(struct region *region)
{
    count_up(region, &region_master(region)->restarts, region_truth(region)->restarts);
}

static uint64_t begin_life(struct region *region, uint32_t slot, bool is_clerk)
{
    struct master_area *master = region_master(region);
    struct master_row *row = master_row(region, slot);
    const struct master_area *truth = region_truth(region);
    uint64_t incarnation = truth->incarnation_last + 1;

    assert(truth->rows[slot].incarnation == 0); /* one live process a slot */
    region_mend(region);
    region_keep_u64(region, &master->incarnation_last, incarnation);
    region_keep_u32(region, &row->pid, 0);
    region_keep_u32(region, &row->is_clerk, is_clerk);
    region_keep_u64(region, &row->started_ms, clock_monotonic_ms());
    if (slot >= truth->slots_used)
        region_keep_u32(region, &master->slots_used, slot + 1);
    region_keep_u64(region, &row->incarnation, incarnation);
    return incarnation;
}

uint64_t slot_begin(struct region *region, uint32_t slot)
{
    return begin_life(region, slot, false);
}

uint64_t slot_begin_clerk(struct region *region, uint32_t slot)
{
    return begin_life(region, slot, true);
}

void slot_set_pid(struct region *region, uint32_t slot, int32_t pid)
{
    region_keep_u32(region, &master_row(region, slot)->pid, (uint32_t)pid);
}

static void clear_row(struct region *region, uint32_t slot)
{
    struct worker_page *page = region_worker(region, slot);

    write_u32(&page->redis, WORKER_REDIS_NONE);
    write_u32(&page->pending, 0);
    write_u32(&page->sessions, 0);
    atomic_store(&page->claims, 0);
    write_u32(&page->state, WORKER_ABSENT);
    write_u64(&page->heartbeat_ms, 0);
}

void slot_end(struct region *region, uint32_t slot)
{
    struct master_row *row = master_row(region, slot);

    /* From here on the worker's sessions and claims read as absent. */
    region_keep_u64(region, &row->incarnation, 0);
    region_keep_u32(region, &row->pid, 0);
    region_mend(region);
    sessions_purge(region, slot);
    origins_purge(region, slot);
    rings_purge(region, slot);
    stats_retire(region, slot);
    clear_row(region, slot);
}

/* ---- the slot's own worker ---- */

void slot_set_state(struct region *region, uint32_t slot, enum worker_state state)
{
    write_u32(&region_worker(region, slot)->state, state);
}

void slot_beat(struct region *region, uint32_t slot, uint64_t now_ms)
{
    write_u64(&region_worker(region, slot)->heartbeat_ms, now_ms);
}

void slot_set_pending(struct region *region, uint32_t slot, uint32_t pending)
{
    write_u32(&region_worker(region, slot)->pending, pending);
}

void slot_set_redis(struct region *region, uint32_t slot, enum worker_redis redis)
{
    write_u32(&region_worker(region, slot)->redis, redis);
}

enum seat_word { SEATS_CLAIMED, SEATS_TAKEN };

/* Sums a word of all live workers. Sequentially consistent: see slot_seat_take. */
static uint64_t sum_seats(const struct region *region, enum seat_word word)
{
    uint32_t used = region_slots_used(region);
    uint64_t sum = 0;

    for (uint32_t slot = 0; slot < used; slot++) {
        const struct worker_page *page = region_worker(region, slot);

        if (atomic_load(&master_row(region, slot)->incarnation) != 0)
            sum += atomic_load(word == SEATS_CLAIMED ? &page->claims : &page->sessions);
    }
    return sum;
}

/*
 * Claim first, then count. Of all the seats that are held at some moment, one was claimed last: its
 * taker counted after every other claim had been made, and found room; so never too many are held.
 * (All these accesses are sequentially consistent, so there is a "last".)
 *
 * Claims that are about to be given up count too, so two workers that try for the last seat may
 * both step back. Such a claim is no reason to refuse; only seats really taken are.
 */
enum err slot_seat_take(struct region *region, uint32_t slot)
{
    struct worker_page *page = region_worker(region, slot);
    uint32_t sessions_max = region->layout.sessions_max;

    for (int tries = 0; tries < SEAT_TRIES_MAX; tries++) {
        atomic_fetch_add(&page->claims, 1);
        if (sum_seats(region, SEATS_CLAIMED) <= sessions_max) {
            atomic_fetch_add(&page->sessions, 1);
            return OK;
        }
        atomic_fetch_sub(&page->claims, 1);
        if (sum_seats(region, SEATS_TAKEN) >= sessions_max)
            return ERR_FULL;
        sched_yield();
    }
    return ERR_FULL;
}

void slot_seat_leave(struct region *region, uint32_t slot)
{
    struct worker_page *page = region_worker(region, slot);

    assert(read_u32(&page->sessions) > 0);
    atomic_fetch_sub(&page->sessions, 1);
    atomic_fetch_sub(&page->claims, 1);
}

/* ---- anyone ---- */

/* Between the fork and the worker's first slot_set_state the worker is starting. */
static enum worker_state state_of(uint64_t incarnation, uint32_t word)
{
    if (incarnation == 0)
        return WORKER_ABSENT;
    return word == WORKER_SERVING || word == WORKER_DRAINING ? (enum worker_state)word
                                                             : WORKER_STARTING;
}

enum worker_redis slot_redis(const struct region *region, uint32_t slot)
{
    uint32_t word = read_u32(&region_worker(region, slot)->redis);

    return word == WORKER_REDIS_AWAY || word == WORKER_REDIS_UP ? (enum worker_redis)word
                                                                : WORKER_REDIS_NONE;
}

void slot_view(const struct region *region, uint32_t slot, struct worker_view *view)
{
    const struct master_row *row = master_row(region, slot);
    const struct worker_page *page = region_worker(region, slot);
    uint64_t incarnation = slot_incarnation(region, slot);

    *view = (struct worker_view){ 0 };
    if (incarnation == 0)
        return;
    *view = (struct worker_view){
        .pid = (int32_t)read_u32(&row->pid),
        .incarnation = incarnation,
        .state = state_of(incarnation, read_u32(&page->state)),
        .started_ms = read_u64(&row->started_ms),
        .heartbeat_ms = read_u64(&page->heartbeat_ms),
        .sessions = read_u32(&page->sessions),
        .pending = read_u32(&page->pending),
        .redis = slot_redis(region, slot),
        .is_clerk = read_u32(&row->is_clerk) != 0,
    };
    if (slot_incarnation(region, slot) != incarnation) /* the worker died meanwhile */
        *view = (struct worker_view){ 0 };
}

void slots_server(const struct region *region, struct server_view *view)
{
    const struct master_area *master = region_master(region);

    *view = (struct server_view){
        .master_pid = (int32_t)read_u32(&master->pid),
        .started_ms = read_u64(&master->started_ms),
        .config_generation = read_u64(&master->config_generation),
        .restarts = read_u64(&master->restarts),
        .sessions_max = region->layout.sessions_max,
    };
    _Static_assert(sizeof view->node == NODE_BYTES, "copied whole");
    memcpy(view->node, master->node, NODE_BYTES - 1);
}

uint32_t slots_used(const struct region *region)
{
    return region_slots_used(region);
}

uint32_t slots_sessions(const struct region *region)
{
    uint64_t sum = sum_seats(region, SEATS_TAKEN);

    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

uint32_t slots_least_loaded(const struct region *region, uint64_t now_ms)
{
    uint32_t used = region_slots_used(region);
    uint32_t least = UINT32_MAX;

    for (uint32_t slot = 0; slot < used; slot++) {
        const struct worker_page *page = region_worker(region, slot);
        uint32_t load;

        if (read_u32(&master_row(region, slot)->is_clerk))
            continue;
        if (state_of(slot_incarnation(region, slot), read_u32(&page->state)) != WORKER_SERVING ||
            read_u64(&page->heartbeat_ms) + SLOT_FRESH_MS < now_ms)
            continue;
        load = read_u32(&page->sessions) + read_u32(&page->pending);
        if (load < least)
            least = load;
    }
    return least;
}
