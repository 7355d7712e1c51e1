/*
 * The table of metrics: each family with its name in Prometheus and what it means, and each counter
 * of shm/stats.h with its family. GET /metrics and docs/metrics.md (`explain-metrics`) are made
 * from this table alone: metrics_page.c walks it, and metrics_sources.c has the numbers that are no
 * counters.
 */
#ifndef WORKER_CLERK_METRICS_TABLE_H
#define WORKER_CLERK_METRICS_TABLE_H

#include "shm/stats.h"

#include <stddef.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Metrics of one name, which differ by one label. */
struct metric_family {
    const char *name; /* without the _total of a counter */
    enum metric_type type;
    const char *unit;  /* of OpenMetrics; "" : none. The name ends with it */
    const char *label; /* NULL: none; a family of one metric. Of a histogram: beside `le` */
    const char *help;  /* one sentence without a full stop */
    const char *act;   /* what to do when it moves; "" : nothing */
};

/* A counter in a family. */
struct metric_row {
    enum stat_id stat;
    const char *family;
    const char *value; /* of the label; NULL: the family has none */
};

extern const struct metric_family metric_families[];
extern const size_t metric_family_count;
/* Rows of a family stand together, in the order of the families. */
extern const struct metric_row metric_rows[];
extern const size_t metric_row_count;

#endif
