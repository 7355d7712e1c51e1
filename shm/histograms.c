#include "shm/histograms.h"

#include "shm/layout.h"

static uint64_t read_word(const shared_u64 *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* One writer: a load and a store, without a locked instruction. */
static void add_to_word(shared_u64 *word, uint64_t n)
{
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

unsigned histogram_bucket(uint64_t ns)
{
    const uint64_t longest_ns = UINT64_C(1) << 40; /* the shift below loses no bit */
    uint64_t above; /* whole units of the first bound below the time */

    if (ns == 0)
        return 0;
    if (ns > longest_ns)
        return HISTOGRAM_BUCKETS - 1;
    above = ((ns << -HISTOGRAM_EXPONENT_MIN) - 1) / 1000000000u;
    if (above == 0)
        return 0;
    above = (uint64_t)(64 - __builtin_clzll(above));
    return above < HISTOGRAM_BUCKETS ? (unsigned)above : HISTOGRAM_BUCKETS - 1;
}

double histogram_bound_s(unsigned i)
{
    const double first_s = 1.0 / (1 << -HISTOGRAM_EXPONENT_MIN);

    assert(i < HISTOGRAM_BOUNDS);
    return first_s * (double)(UINT64_C(1) << i);
}

void histogram_add(struct stats_row *row, enum histogram_id id, uint64_t ns)
{
    struct histogram_words *words = &row->histograms[id];

    add_to_word(&words->buckets[histogram_bucket(ns)], 1);
    add_to_word(&words->sum_ns, ns);
}

static void add_to_view(struct histogram_view *view, const struct histogram_words *words)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        view->buckets[i] += read_word(&words->buckets[i]);
    view->sum_ns += read_word(&words->sum_ns);
}

static void sum_once(const struct region *region, enum histogram_id id, struct histogram_view *view)
{
    uint32_t used = region_slots_used(region);

    *view = (struct histogram_view){ 0 };
    add_to_view(view, &region_histograms(region)->retired[id]);
    for (uint32_t slot = 0; slot < used; slot++)
        add_to_view(view, &region_worker(region, slot)->stats.histograms[id]);
}

void histogram_sum(const struct region *region, enum histogram_id id, struct histogram_view *view)
{
    uint64_t version;

    for (int tries = 0; tries < FOLD_TRIES_MAX; tries++) {
        version = fold_look(region);
        sum_once(region, id, view);
        if (!fold_moved(region, version))
            break;
    }
}

void histogram_of_worker(const struct region *region, uint32_t slot, enum histogram_id id,
                         struct histogram_view *view)
{
    *view = (struct histogram_view){ 0 };
    add_to_view(view, &region_worker(region, slot)->stats.histograms[id]);
}

static void retire_word(struct region *region, shared_u64 *retired, const shared_u64 *truth,
                        shared_u64 *word)
{
    region_keep_u64(region, retired, read_word(truth) + read_word(word));
    atomic_store_explicit(word, 0, memory_order_release);
}

void histograms_retire(struct region *region, uint32_t slot)
{
    struct histogram_words *dead = region_worker(region, slot)->stats.histograms;
    struct master_histograms *master = region_histograms(region);
    const struct master_histograms *truth = region_truth_histograms(region);

    for (unsigned id = 0; id < HISTOGRAM_COUNT; id++) {
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
            retire_word(region, &master->retired[id].buckets[i], &truth->retired[id].buckets[i],
                        &dead[id].buckets[i]);
        retire_word(region, &master->retired[id].sum_ns, &truth->retired[id].sum_ns,
                    &dead[id].sum_ns);
    }
}
