/*
 * The samples of families that are no counters: histograms, what differs from worker to worker, the
 * server as a whole, and what the clerk knows of Redis. A family is found by its name in the table
 * of metrics_table.c; a name without a row here is a mistake that a test finds.
 */
#include "worker/clerk/metrics_page.h"

#include "common/clock.h"
#include "shm/certs.h"
#include "shm/ring.h"
#include "shm/sessions.h"
#include "shm/slots.h"
#include "worker/reach/nodes.h"

#include <stdio.h>

static const struct slice nothing = { "", 0 };

static const struct region *page_region(const struct metrics_page *page)
{
    return page->clerk->office->region;
}

/* ---- histograms ---- */

static void add_sum(struct metrics_page *page, enum histogram_id id)
{
    struct histogram_view view;

    histogram_sum(page_region(page), id, &view);
    metrics_add_histogram(page, nothing, &view);
}

static void add_round_trip(struct metrics_page *page)
{
    add_sum(page, HISTOGRAM_REDIS_ROUND_TRIP);
}

static void add_accept(struct metrics_page *page)
{
    add_sum(page, HISTOGRAM_ACCEPT);
}

static void add_delivery(struct metrics_page *page)
{
    add_sum(page, HISTOGRAM_DELIVERY);
}

static void add_tls_handshake(struct metrics_page *page)
{
    add_sum(page, HISTOGRAM_TLS_HANDSHAKE);
}

/* ---- for each worker ---- */

/* One live process of this host. */
struct process {
    const struct metrics_page *page;
    uint32_t slot;
    struct worker_view view;
    struct slice name; /* of its slot, for the label */
};

static void each_process(struct metrics_page *page, bool with_clerk,
                         void (*add)(struct metrics_page *page, const struct process *process))
{
    const struct region *region = page_region(page);
    struct process process = { .page = page };
    char name[12];

    for (; process.slot < slots_used(region); process.slot++) {
        slot_view(region, process.slot, &process.view);
        if (process.view.incarnation == 0 || (process.view.is_clerk && !with_clerk))
            continue;
        snprintf(name, sizeof name, "%u", process.slot);
        process.name = slice_of(name);
        add(page, &process);
    }
}

static void add_one_lag(struct metrics_page *page, const struct process *process)
{
    struct histogram_view view;

    histogram_of_worker(page_region(page), process->slot, HISTOGRAM_LOOP_LAG, &view);
    metrics_add_histogram(page, process->name, &view);
}

static void add_lag(struct metrics_page *page)
{
    each_process(page, false, add_one_lag);
}

static void add_one_sessions(struct metrics_page *page, const struct process *process)
{
    metrics_add(page, process->name, process->view.sessions);
}

static void add_sessions(struct metrics_page *page)
{
    each_process(page, false, add_one_sessions);
}

static void add_one_pending(struct metrics_page *page, const struct process *process)
{
    metrics_add(page, process->name, process->view.pending);
}

static void add_pending(struct metrics_page *page)
{
    each_process(page, false, add_one_pending);
}

static void add_one_silence(struct metrics_page *page, const struct process *process)
{
    uint64_t now_ms = clock_monotonic_ms(), beat_ms = process->view.heartbeat_ms;

    metrics_add(page, process->name, now_ms > beat_ms ? (double)(now_ms - beat_ms) / 1000 : 0);
}

static void add_silence(struct metrics_page *page)
{
    each_process(page, false, add_one_silence);
}

static void add_one_redis_up(struct metrics_page *page, const struct process *process)
{
    metrics_add(page, process->name, process->view.redis == WORKER_REDIS_UP);
}

static void add_redis_up(struct metrics_page *page)
{
    each_process(page, false, add_one_redis_up);
}

static void add_one_ring(struct metrics_page *page, const struct process *process)
{
    metrics_add(page, process->name, (double)ring_fill(page_region(page), process->slot));
}

static void add_rings(struct metrics_page *page)
{
    each_process(page, true, add_one_ring);
}

static double gauge_of(const struct process *process, enum stat_id stat)
{
    return (double)stats_get(stats_row(process->page->clerk->office->region, process->slot), stat);
}

static void add_one_connections(struct metrics_page *page, const struct process *process)
{
    metrics_add(page, process->name, gauge_of(process, STAT_redis_connections));
}

static void add_redis_connections(struct metrics_page *page)
{
    each_process(page, true, add_one_connections);
}

static void add_one_group_rows(struct metrics_page *page, const struct process *process)
{
    metrics_add(page, process->name, gauge_of(process, STAT_group_rows));
}

static void add_group_rows(struct metrics_page *page)
{
    each_process(page, false, add_one_group_rows);
}

static void add_one_held(struct metrics_page *page, const struct process *process)
{
    metrics_add(page, process->name, gauge_of(process, STAT_service_held));
}

static void add_held(struct metrics_page *page)
{
    each_process(page, false, add_one_held);
}

/* ---- this host ---- */

static void add_workers(struct metrics_page *page)
{
    static const struct {
        const char *name;
        enum worker_state state;
    } states[] = { { "starting", WORKER_STARTING },
                   { "serving", WORKER_SERVING },
                   { "draining", WORKER_DRAINING } };
    struct worker_view view;

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        unsigned count = 0;
        for (uint32_t slot = 0; slot < slots_used(page_region(page)); slot++) {
            slot_view(page_region(page), slot, &view);
            count += view.incarnation && !view.is_clerk && view.state == states[i].state;
        }
        metrics_add(page, slice_of(states[i].name), count);
    }
}

static void add_ring_limit(struct metrics_page *page)
{
    metrics_add(page, nothing, (double)ring_size(region_sessions_max(page_region(page))));
}

static void add_group_rows_limit(struct metrics_page *page)
{
    metrics_add(page, nothing, sessions_groups_max(page_region(page)));
}

static void add_nodes(struct metrics_page *page)
{
    metrics_add(page, nothing, nodes_count(page->clerk->office->nodes));
}

static void add_certificates(struct metrics_page *page)
{
    static struct cert_view certs[CERTS_MAX];
    uint32_t count = certs_read(page_region(page), certs);

    for (uint32_t i = 0; i < count; i++)
        metrics_add(page, slice_of(certs[i].names), (double)certs[i].ends_s);
}

static struct server_view page_server(const struct metrics_page *page)
{
    struct server_view server;

    slots_server(page_region(page), &server);
    return server;
}

static void add_version(struct metrics_page *page)
{
    metrics_add(page, slice_of(POSTOFFICE_VERSION), 1);
}

static void add_start(struct metrics_page *page)
{
    uint64_t age_ms = clock_monotonic_ms() - page_server(page).started_ms;

    metrics_add(page, nothing, (double)(clock_unix_ms() - (int64_t)age_ms) / 1000);
}

static void add_sessions_limit(struct metrics_page *page)
{
    metrics_add(page, nothing, page_server(page).sessions_max);
}

static void add_generation(struct metrics_page *page)
{
    metrics_add(page, nothing, (double)page_server(page).config_generation);
}

static void add_restarts(struct metrics_page *page)
{
    metrics_add(page, nothing, (double)page_server(page).restarts);
}

/* ---- Redis, as far as the clerk knows ---- */

static void add_redis_memory(struct metrics_page *page)
{
    const struct redis_view *view = &page->clerk->redis;

    if (view->memory_ms)
        metrics_add(page, nothing, (double)view->used_bytes);
}

static void add_redis_memory_limit(struct metrics_page *page)
{
    const struct redis_view *view = &page->clerk->redis;

    if (view->memory_ms && view->limit_bytes)
        metrics_add(page, nothing, (double)view->limit_bytes);
}

static void add_redis_database_keys(struct metrics_page *page)
{
    const struct redis_view *view = &page->clerk->redis;

    if (view->has_database_keys)
        metrics_add(page, nothing, (double)view->database_keys);
}

static void add_redis_keys(struct metrics_page *page)
{
    const struct redis_view *view = &page->clerk->redis;

    if (view->keys_ms)
        metrics_add(page, nothing, (double)view->keys);
}

static void add_redis_age(struct metrics_page *page)
{
    const struct redis_view *view = &page->clerk->redis;
    uint64_t now_ms = loop_now_ms(page->clerk->office->loop);

    if (view->memory_ms)
        metrics_add(page, SLICE("memory"), (double)(now_ms - view->memory_ms) / 1000);
    if (view->keys_ms)
        metrics_add(page, SLICE("keys"), (double)(now_ms - view->keys_ms) / 1000);
}

/* ---- by name ---- */

static const struct {
    const char *name;
    void (*add)(struct metrics_page *page);
} sources[] = {
    { "postoffice_redis_round_trip_seconds", add_round_trip },
    { "postoffice_accept_seconds", add_accept },
    { "postoffice_delivery_seconds", add_delivery },
    { "postoffice_loop_lag_seconds", add_lag },
    { "postoffice_tls_handshake_seconds", add_tls_handshake },
    { "postoffice_sessions", add_sessions },
    { "postoffice_pending_connections", add_pending },
    { "postoffice_worker_silence_seconds", add_silence },
    { "postoffice_worker_redis_up", add_redis_up },
    { "postoffice_redis_connections", add_redis_connections },
    { "postoffice_ring_used_bytes", add_rings },
    { "postoffice_ring_limit_bytes", add_ring_limit },
    { "postoffice_group_rows", add_group_rows },
    { "postoffice_group_rows_limit", add_group_rows_limit },
    { "postoffice_service_unacknowledged", add_held },
    { "postoffice_workers", add_workers },
    { "postoffice_workers_elsewhere", add_nodes },
    { "postoffice_certificate_end_timestamp_seconds", add_certificates },
    { "postoffice_redis_used_memory_bytes", add_redis_memory },
    { "postoffice_redis_memory_limit_bytes", add_redis_memory_limit },
    { "postoffice_redis_keys", add_redis_keys },
    { "postoffice_redis_database_keys", add_redis_database_keys },
    { "postoffice_redis_view_age_seconds", add_redis_age },
    { "postoffice_process_restarts", add_restarts },
    { "postoffice_sessions_limit", add_sessions_limit },
    { "postoffice_config_generation", add_generation },
    { "postoffice_start_time_seconds", add_start },
    { "postoffice_build_info", add_version },
};

bool metrics_add_source(struct metrics_page *page)
{
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
        if (strcmp(sources[i].name, page->family->name) == 0) {
            sources[i].add(page);
            return true;
        }
    return false;
}
