/*
 * The text format of Prometheus (0.0.4) and that of OpenMetrics (1.0.0), which differ in the names
 * of counters' families, in units, and in the bounds of histograms.
 */
#include "worker/clerk/metrics_page.h"

#include <stdio.h>

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

static const char *type_name(enum metric_type type)
{
    return type == METRIC_COUNTER ? "counter" : type == METRIC_HISTOGRAM ? "histogram" : "gauge";
}

void metrics_begin(struct metrics_page *page)
{
    const struct metric_family *family = page->family;
    const char *ending = family->type == METRIC_COUNTER && !page->is_open ? "_total" : "";

    buf_addf(&page->out, "# HELP %s%s %s.\n", family->name, ending, family->help);
    buf_addf(&page->out, "# TYPE %s%s %s\n", family->name, ending, type_name(family->type));
    if (page->is_open && family->unit[0])
        buf_addf(&page->out, "# UNIT %s %s\n", family->name, family->unit);
}

/* le: of a bucket; NULL: none. */
static void add_line(struct metrics_page *page, const char *ending, struct slice value,
                     const char *le, double number)
{
    const char *label = page->family->label;

    buf_addf(&page->out, "%s%s", page->family->name, ending);
    if (label || le)
        buf_add_char(&page->out, '{');
    if (label) {
        buf_addf(&page->out, "%s=\"", label);
        add_escaped(&page->out, value);
        buf_addf(&page->out, "\"%s", le ? "," : "");
    }
    if (le)
        buf_addf(&page->out, "le=\"%s\"", le);
    if (label || le)
        buf_add_char(&page->out, '}');
    buf_addf(&page->out, " %.15g\n", number);
}

void metrics_add(struct metrics_page *page, struct slice value, double number)
{
    add_line(page, page->family->type == METRIC_COUNTER ? "_total" : "", value, NULL, number);
}

/* OpenMetrics wants a point in every bound. */
static void write_bound(const struct metrics_page *page, unsigned i, char text[32])
{
    double bound_s = histogram_bound_s(i);

    snprintf(text, 32, page->is_open && bound_s >= 1 ? "%.1f" : "%.15g", bound_s);
}

void metrics_add_histogram(struct metrics_page *page, struct slice value,
                           const struct histogram_view *view)
{
    uint64_t count = 0;
    char bound[32];

    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        count += view->buckets[i];
        write_bound(page, i, bound);
        add_line(page, "_bucket", value, bound, (double)count);
    }
    count += view->buckets[HISTOGRAM_BOUNDS];
    add_line(page, "_bucket", value, "+Inf", (double)count);
    add_line(page, "_sum", value, NULL, (double)view->sum_ns / 1e9);
    add_line(page, "_count", value, NULL, (double)count);
}
