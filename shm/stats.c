/*
 * Counters: a row a worker, summed on reading.
 *
 * A row has one writer, so counting is a load and a store without a locked instruction. When a
 * worker has died, the master moves its counts to the retired row; a sum that overlaps such a move
 * starts again, so that totals never go back.
 */
#include "shm/layout.h"

static const char *const stat_names[STAT_COUNT] = {
#define X(name) [STAT_##name] = #name,
    STATS(X)
#undef X
};

static bool is_gauge(enum stat_id stat)
{
    return stat >= STAT_rate_in; /* the last of the list */
}

static uint64_t read_counter(const shared_u64 *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

const char *stats_name(enum stat_id stat)
{
    assert(stat < STAT_COUNT);
    return stat_names[stat];
}

struct stats_row *stats_row(struct region *region, uint32_t slot)
{
    return &region_worker(region, slot)->stats;
}

void stats_add(struct stats_row *row, enum stat_id stat, uint64_t n)
{
    shared_u64 *counter = &row->counters[stat];

    atomic_store_explicit(counter, read_counter(counter) + n, memory_order_relaxed);
}

void stats_add_master(struct region *region, enum stat_id stat, uint64_t n)
{
    region_keep_u64(region, &region_master(region)->retired[stat],
                    region_truth(region)->retired[stat] + n);
}

void stats_set(struct stats_row *row, enum stat_id stat, uint64_t value)
{
    atomic_store_explicit(&row->counters[stat], value, memory_order_relaxed);
}

uint64_t stats_get(const struct stats_row *row, enum stat_id stat)
{
    return read_counter(&row->counters[stat]);
}

static uint64_t sum_once(const struct region *region, enum stat_id stat)
{
    uint64_t sum = read_counter(&region_master(region)->retired[stat]);
    uint32_t used = region_slots_used(region);

    for (uint32_t slot = 0; slot < used; slot++) {
        /* The counters of a worker that is dead but not yet retired belong to the total; its gauges
         * do not. */
        if (is_gauge(stat) && slot_incarnation(region, slot) == 0)
            continue;
        sum += atomic_load_explicit(&region_worker(region, slot)->stats.counters[stat],
                                    memory_order_acquire);
    }
    return sum;
}

uint64_t stats_sum(const struct region *region, enum stat_id stat)
{
    uint64_t version, sum = 0;

    for (int tries = 0; tries < FOLD_TRIES_MAX; tries++) {
        version = fold_look(region);
        sum = sum_once(region, stat);
        if (!fold_moved(region, version))
            break;
    }
    return sum;
}

void stats_retire(struct region *region, uint32_t slot)
{
    struct master_area *master = region_master(region);
    const struct master_area *truth = region_truth(region);
    struct stats_row *row = stats_row(region, slot);

    region_keep_u64(region, &master->fold_version, truth->fold_version + 1);
    for (enum stat_id stat = 0; stat < STAT_COUNT; stat++) {
        uint64_t value = read_counter(&row->counters[stat]);

        if (!is_gauge(stat))
            stats_add_master(region, stat, value);
        atomic_store_explicit(&row->counters[stat], 0, memory_order_release);
    }
    histograms_retire(region, slot);
    region_keep_u64(region, &master->fold_version, truth->fold_version + 1);
}
