/*
 * GET /metrics: all families of the table, in the text format of Prometheus, or in that of
 * OpenMetrics when the request prefers it. Read from shared memory and from what the clerk knows
 * already, so a scrape costs no worker anything, and waits for nobody.
 *
 * Counters are sums over all workers, the dead included, so they never go back while the server
 * lives. What differs from worker to worker and says something by that has the label `worker`.
 */
#include "worker/clerk/metrics_page.h"

#include <assert.h>

enum { PAGE_MAX = 1 << 20 };

static void add_families(struct metrics_page *page)
{
    const struct region *region = page->clerk->office->region;
    const struct metric_row *row = metric_rows, *end = metric_rows + metric_row_count;

    for (size_t i = 0; i < metric_family_count; i++) {
        bool is_known;

        page->family = &metric_families[i];
        metrics_begin(page);
        if (row == end || strcmp(row->family, page->family->name) != 0) {
            is_known = metrics_add_source(page);
            assert(is_known); /* test_metrics.c walks the table */
        }
        for (; row < end && strcmp(row->family, page->family->name) == 0; row++)
            metrics_add(page, slice_of(row->value ? row->value : ""),
                        (double)stats_sum(region, row->stat));
    }
}

/* RFC 9110 12.5.1 in short: OpenMetrics when the header names it. */
static bool prefers_open_metrics(const struct web_request *request)
{
    struct slice accept = web_header(request, SLICE("accept"), NULL);

    return accept.len && memmem(accept.data, accept.len, "application/openmetrics-text",
                                sizeof "application/openmetrics-text" - 1);
}

void clerk_metrics_get(const struct clerk_call *call)
{
    struct metrics_page page = { .is_open = prefers_open_metrics(call->request),
                                 .clerk = call->clerk };

    buf_init(&page.out, PAGE_MAX);
    add_families(&page);
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
