#include "master/cmd_metrics.h"

#include "worker/clerk/metrics_table.h"

#include <stdio.h>
#include <string.h>

static const char page_head[] =
    "# Metrics\n"
    "\n"
    "`GET /metrics` at `admin.listen` ([admin.md](admin.md)), in the text format of Prometheus,\n"
    "or of OpenMetrics when `Accept` names it. `websocket-server explain-metrics` prints this "
    "page.\n"
    "\n"
    "Counters and histograms without the label `worker` are sums over all processes of this host\n"
    "since its master started, dead workers included: they never go back while the server lives.\n"
    "The bounds of histograms are powers of two in seconds, from 2^-14 (61 µs) to 16. Times are\n"
    "those of turns of the event loop, whose clock is read once a turn.\n"
    "\n"
    "**What a scrape costs.** The clerk alone works for a scrape. The clerk reads shared memory,\n"
    "and what the clerk knows of Redis already: no scrape asks a worker or Redis, or waits for\n"
    "them. The measured cost: [performance.md](performance.md#a-scrape).\n";

/* The order of the page. */
static const struct {
    enum metric_type type;
    const char *title, *ending;
} parts[] = {
    { METRIC_COUNTER, "Counters", "_total" },
    { METRIC_HISTOGRAM, "Histograms", "" },
    { METRIC_GAUGE, "Gauges", "" },
};

/* In a cell, a bar would end the cell. */
static void print_cell(const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            putchar('\\');
        putchar(*text);
    }
}

static void print_labels(const struct metric_family *family)
{
    bool any = false;

    if (!family->label) {
        fputs(family->type == METRIC_HISTOGRAM ? "`le`" : "", stdout);
        return;
    }
    printf("`%s`", family->label);
    for (size_t i = 0; i < metric_row_count; i++) {
        if (strcmp(metric_rows[i].family, family->name) != 0)
            continue;
        printf("%s%s", any ? ", " : ": ", metric_rows[i].value);
        any = true;
    }
    fputs(family->type == METRIC_HISTOGRAM ? ", `le`" : "", stdout);
}

static void print_family(const struct metric_family *family, const char *ending)
{
    printf("| `%s%s` | ", family->name, ending);
    print_labels(family);
    fputs(" | ", stdout);
    print_cell(family->help);
    fputs(" | ", stdout);
    print_cell(family->act);
    fputs(" |\n", stdout);
}

int cmd_explain_metrics(const struct options *options)
{
    (void)options;
    fputs(page_head, stdout);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        printf("\n## %s\n\n", parts[i].title);
        fputs("| name | labels | meaning | when it moves |\n| --- | --- | --- | --- |\n", stdout);
        for (size_t f = 0; f < metric_family_count; f++)
            if (metric_families[f].type == parts[i].type)
                print_family(&metric_families[f], parts[i].ending);
    }
    return 0;
}
