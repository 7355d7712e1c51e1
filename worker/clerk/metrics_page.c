/*
 * GET /metrics: all counters and gauges, in the text format of Prometheus, or in that of
 * OpenMetrics when the request prefers it. Read from shared memory alone, so a scrape costs no
 * worker anything.
 *
 * Counters are sums over all workers, the dead included, so they never go back while the server
 * lives. What differs from worker to worker and says something by that has the label `worker`.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/clock.h"
#include "shm/certs.h"
#include "shm/slots.h"
#include "shm/stats.h"
#include "worker/clerk/metrics_table.h"
#include "worker/reach/nodes.h"

#include <stdio.h>

enum { PAGE_MAX = 1 << 20 };

struct page {
    struct buf out;
    bool is_open; /* OpenMetrics */
};

/* ---- the text format ---- */

/* A label's value: a backslash, a quote and a line feed are escaped. */
static void add_escaped(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '\\' || c == '"')
            buf_add_char(out, '\\');
        if (c == '\n')
            buf_add_text(out, "\\n");
        else
            buf_add_char(out, c);
    }
}

/* The lines before the samples of a family. name: without _total. */
static void begin_family(struct page *page, const char *name, enum metric_type type,
                         const char *unit, const char *help)
{
    const char *ending = type == METRIC_COUNTER && !page->is_open ? "_total" : "";

    buf_addf(&page->out, "# HELP %s%s %s.\n", name, ending, help);
    buf_addf(&page->out, "# TYPE %s%s %s\n", name, ending,
             type == METRIC_COUNTER     ? "counter"
             : type == METRIC_HISTOGRAM ? "histogram"
                                        : "gauge");
    if (page->is_open && unit[0])
        buf_addf(&page->out, "# UNIT %s %s\n", name, unit);
}

static void add_sample(struct page *page, const char *name, enum metric_type type,
                       const char *label, struct slice value, double number)
{
    buf_addf(&page->out, "%s%s", name, type == METRIC_COUNTER ? "_total" : "");
    if (label) {
        buf_addf(&page->out, "{%s=\"", label);
        add_escaped(&page->out, value);
        buf_add_text(&page->out, "\"}");
    }
    buf_addf(&page->out, " %.15g\n", number);
}

/* ---- counters ---- */

static void add_counters(struct page *page, const struct region *region)
{
    const struct metric_row *row = metric_rows, *end = metric_rows + metric_row_count;

    for (size_t i = 0; i < metric_family_count; i++) {
        const struct metric_family *family = &metric_families[i];
        begin_family(page, family->name, family->type, family->unit, family->help);
        for (; row < end && strcmp(row->family, family->name) == 0; row++)
            add_sample(page, family->name, family->type, family->label, slice_of(row->value),
                       (double)stats_sum(region, row->stat));
    }
}

/* ---- gauges ---- */

static double sessions_of(const struct worker_view *view, uint64_t now_ms)
{
    (void)now_ms;
    return view->sessions;
}

static double pending_of(const struct worker_view *view, uint64_t now_ms)
{
    (void)now_ms;
    return view->pending;
}

static double silence_of(const struct worker_view *view, uint64_t now_ms)
{
    return now_ms > view->heartbeat_ms ? (double)(now_ms - view->heartbeat_ms) / 1000 : 0;
}

static double redis_of(const struct worker_view *view, uint64_t now_ms)
{
    (void)now_ms;
    return view->redis == WORKER_REDIS_UP;
}

static const struct worker_gauge {
    const char *name, *unit, *help;
    double (*of)(const struct worker_view *view, uint64_t now_ms);
} worker_gauges[] = {
    { "postoffice_sessions", "", "Open sessions of a worker", sessions_of },
    { "postoffice_pending_connections", "", "Connections of a worker before their upgrade",
      pending_of },
    { "postoffice_worker_silence_seconds", "seconds", "Time since a worker's last sign of life",
      silence_of },
    { "postoffice_worker_redis_up", "", "Whether a worker is connected to Redis", redis_of },
};

static void add_worker_gauges(struct page *page, const struct region *region)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct worker_view view;
    char slot_text[12];

    for (size_t i = 0; i < sizeof worker_gauges / sizeof worker_gauges[0]; i++) {
        const struct worker_gauge *gauge = &worker_gauges[i];
        begin_family(page, gauge->name, METRIC_GAUGE, gauge->unit, gauge->help);
        for (uint32_t slot = 0; slot < slots_used(region); slot++) {
            slot_view(region, slot, &view);
            if (view.incarnation == 0 || view.is_clerk)
                continue;
            snprintf(slot_text, sizeof slot_text, "%u", slot);
            add_sample(page, gauge->name, METRIC_GAUGE, "worker", slice_of(slot_text),
                       gauge->of(&view, now_ms));
        }
    }
}

static void add_gauge(struct page *page, const char *name, const char *unit, const char *help,
                      double value)
{
    begin_family(page, name, METRIC_GAUGE, unit, help);
    add_sample(page, name, METRIC_GAUGE, NULL, slice_of(""), value);
}

static void add_workers(struct page *page, const struct region *region)
{
    static const char *const states[] = { "starting", "serving", "draining" };
    static const enum worker_state of[] = { WORKER_STARTING, WORKER_SERVING, WORKER_DRAINING };
    struct worker_view view;

    begin_family(page, "postoffice_workers", METRIC_GAUGE, "", "Workers of this host by state");
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        unsigned count = 0;
        for (uint32_t slot = 0; slot < slots_used(region); slot++) {
            slot_view(region, slot, &view);
            count += view.incarnation && !view.is_clerk && view.state == of[i];
        }
        add_sample(page, "postoffice_workers", METRIC_GAUGE, "state", slice_of(states[i]), count);
    }
}

static void add_certificates(struct page *page, const struct region *region)
{
    static struct cert_view certs[CERTS_MAX];
    uint32_t count = certs_read(region, certs);

    begin_family(page, "postoffice_certificate_end_timestamp_seconds", METRIC_GAUGE, "seconds",
                 "When a certificate of sslPort ends, as Unix time");
    for (uint32_t i = 0; i < count; i++)
        add_sample(page, "postoffice_certificate_end_timestamp_seconds", METRIC_GAUGE, "names",
                   slice_of(certs[i].names), (double)certs[i].ends_s);
}

static void add_server(struct page *page, const struct office *office)
{
    struct server_view server;

    slots_server(office->region, &server);
    begin_family(page, "postoffice_build_info", METRIC_GAUGE, "", "The version, as a label");
    add_sample(page, "postoffice_build_info", METRIC_GAUGE, "version", slice_of(POSTOFFICE_VERSION),
               1);
    add_gauge(page, "postoffice_start_time_seconds", "seconds",
              "When the master started, as Unix time",
              (double)clock_unix_s() - (double)(clock_monotonic_ms() - server.started_ms) / 1000);
    add_gauge(page, "postoffice_sessions_limit", "", "maxWebSocketConnections",
              server.sessions_max);
    add_gauge(page, "postoffice_config_generation", "",
              "1 at the start, one more with each reload that was applied",
              (double)server.config_generation);
    begin_family(page, "postoffice_process_restarts", METRIC_COUNTER, "",
                 "Workers and clerks that died without having been told to leave");
    add_sample(page, "postoffice_process_restarts", METRIC_COUNTER, NULL, slice_of(""),
               (double)server.restarts);
    add_gauge(page, "postoffice_workers_elsewhere", "", "Live workers and clerks of other nodes",
              nodes_count(office->nodes));
}

/* ---- the page ---- */

/* RFC 9110 12.5.1 in short: OpenMetrics when the header names it. */
static bool prefers_open_metrics(const struct web_request *request)
{
    struct slice accept = web_header(request, SLICE("accept"), NULL);

    return accept.len && memmem(accept.data, accept.len, "application/openmetrics-text",
                                sizeof "application/openmetrics-text" - 1);
}

void clerk_metrics_get(const struct clerk_call *call)
{
    const struct office *office = call->clerk->office;
    struct page page = { .is_open = prefers_open_metrics(call->request) };

    buf_init(&page.out, PAGE_MAX);
    add_server(&page, office);
    add_workers(&page, office->region);
    add_worker_gauges(&page, office->region);
    add_certificates(&page, office->region);
    add_counters(&page, office->region);
    if (page.is_open)
        buf_add_text(&page.out, "# EOF\n");
    if (page.out.failed)
        clerk_answer_problem(call->request, 503, "internal", "out of memory");
    else
        web_answer(call->request,
                   &(struct web_answer){
                       .status = 200,
                       .content_type = page.is_open ? "application/openmetrics-text; "
                                                      "version=1.0.0; charset=utf-8"
                                                    : "text/plain; version=0.0.4; charset=utf-8",
                       .body = buf_slice(&page.out) });
    buf_fini(&page.out);
}
