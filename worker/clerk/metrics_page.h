/* What the files of GET /metrics share: the page that is being written. */
#ifndef WORKER_CLERK_METRICS_PAGE_H
#define WORKER_CLERK_METRICS_PAGE_H

#include "common/buf.h"
#include "shm/histograms.h"
#include "worker/clerk/clerk_parts.h"
#include "worker/clerk/metrics_table.h"

struct metrics_page {
    struct buf out;
    bool is_open; /* OpenMetrics */
    const struct clerk *clerk;
    const struct metric_family *family; /* whose samples are being written */
};

/* ---- metrics_text.c ---- */

/* The lines before the samples of the page's family. */
void metrics_begin(struct metrics_page *page);
/* A sample of the page's family; value: of its label, ignored when the family has none. */
void metrics_add(struct metrics_page *page, struct slice value, double number);
/* The samples of one histogram. */
void metrics_add_histogram(struct metrics_page *page, struct slice value,
                           const struct histogram_view *view);

/* ---- metrics_sources.c ---- */

/* Writes the samples of a family that has no counters. False: the family is not known here. */
bool metrics_add_source(struct metrics_page *page);

#endif
