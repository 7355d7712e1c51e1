/*
 * The report: every problem found, one line each.
 *
 * Control characters of a line become '?' when the line is added, so that a name taken from a file
 * can neither forge a second line nor steer a terminal.
 */
#include "config/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { REPORT_BYTES_MAX = 1 << 20 };

void config_report_init(struct config_report *report)
{
    buf_init(&report->errors, REPORT_BYTES_MAX);
    buf_init(&report->warnings, REPORT_BYTES_MAX);
}

void config_report_fini(struct config_report *report)
{
    buf_fini(&report->errors);
    buf_fini(&report->warnings);
}

static void add_line(struct buf *buf, struct spot spot, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
static void add_line(struct buf *buf, struct spot spot, const char *format, va_list args)
{
    size_t start = buf->len;
    char *text = NULL;

    if (vasprintf(&text, format, args) < 0) {
        buf_add_text(buf, "out of memory\n");
        return;
    }
    if (*spot.key)
        buf_addf(buf, "%s: %s: %s", spot.file, spot.key, text);
    else
        buf_addf(buf, "%s: %s", spot.file, text);
    free(text);
    for (size_t i = start; i < buf->len; i++)
        if ((unsigned char)buf->data[i] < 0x20 || buf->data[i] == 0x7f)
            buf->data[i] = '?';
    buf_add_char(buf, '\n');
}

void report_error(struct config_report *report, struct spot spot, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_line(&report->errors, spot, format, args);
    va_end(args);
}

void report_warning(struct config_report *report, struct spot spot, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_line(&report->warnings, spot, format, args);
    va_end(args);
}

bool report_clean(const struct config_report *report)
{
    return report->errors.len == 0 && !report->errors.failed;
}
