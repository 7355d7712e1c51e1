/*
 * The report: every problem found, one line each, with an excerpt of the file below.
 *
 * Control characters of a line become '?' when the line is added, so that a name taken from a file
 * can neither forge a second line nor steer a terminal. A line never begins with a blank, an
 * excerpt always does: so a reader can tell them apart.
 */
#include "config/report.h"

#include "config/keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { REPORT_BYTES_MAX = 4 << 20 };

const char spot_environment[] = "environment";

void config_report_init(struct config_report *report)
{
    *report = (struct config_report){ 0 };
    buf_init(&report->errors, REPORT_BYTES_MAX);
    buf_init(&report->warnings, REPORT_BYTES_MAX);
    buf_init(&report->notes, REPORT_BYTES_MAX);
}

void config_report_fini(struct config_report *report)
{
    buf_fini(&report->errors);
    buf_fini(&report->warnings);
    buf_fini(&report->notes);
}

bool config_report_next(struct slice *rest, struct slice *line)
{
    while (rest->len) {
        const char *end = memchr(rest->data, '\n', rest->len);
        size_t len = end ? (size_t)(end - rest->data) : rest->len, used = len + (end != NULL);
        *line = slice_make(rest->data, len);
        *rest = slice_make(rest->data + used, rest->len - used);
        if (len && *line->data != ' ')
            return true;
    }
    return false;
}

struct line_column report_position(struct slice text, size_t at)
{
    struct line_column position = { 1, 1 };

    for (size_t i = 0; i < at && i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '\n')
            position = (struct line_column){ position.line + 1, 1 };
        else if ((c & 0xc0) != 0x80) /* the first byte of a character */
            position.column++;
    }
    return position;
}

/* A variable's value is the key's, and a person knows it by the variable's name. */
static void add_key(struct buf *buf, struct spot spot)
{
    const struct key *key = spot.file == spot_environment ? keys_find(spot.key) : NULL;
    char variable[KEY_VARIABLE_MAX];

    if (*spot.key)
        buf_addf(buf, "%s: ", key && key_variable(key, variable) ? variable : spot.key);
}

/* Uris hold passwords, and a secret may have been written where the file of a key belongs. */
static bool may_show(const char *key)
{
    return strncmp(key, "dataSource", 10) != 0 && strncmp(key, "auth.keys", 9) != 0;
}

struct lines {
    struct buf *buf;
    size_t *count;
    const char *label;
};

static void add_line(const struct config_report *report, struct lines lines, struct spot spot,
                     const char *format, va_list args) __attribute__((format(printf, 4, 0)));
static void add_line(const struct config_report *report, struct lines lines, struct spot spot,
                     const char *format, va_list args)
{
    struct buf *buf = lines.buf;
    size_t start = buf->len;
    bool marked = spot.mark.kind != MARK_NONE && report->text.data;
    char *text = NULL;

    if (++*lines.count > REPORT_LINES_MAX) {
        if (*lines.count == REPORT_LINES_MAX + 1)
            buf_addf(buf, "... and more\n");
        return;
    }
    if (vasprintf(&text, format, args) < 0) {
        buf_add_text(buf, "out of memory\n");
        return;
    }
    buf_add_text(buf, spot.file);
    if (marked) {
        struct line_column position = report_position(report->text, spot.mark.at);
        buf_addf(buf, ":%zu:%zu", position.line, position.column);
    }
    buf_addf(buf, ": %s", lines.label);
    add_key(buf, spot);
    buf_add_text(buf, text);
    free(text);
    for (size_t i = start; i < buf->len; i++)
        if ((unsigned char)buf->data[i] < 0x20 || buf->data[i] == 0x7f ||
            (i == start && buf->data[i] == ' '))
            buf->data[i] = '?';
    buf_add_char(buf, '\n');
    if (marked && spot.mark.kind != MARK_RAW)
        excerpt_add(buf, report->shown, &spot.mark, may_show(spot.key));
}

void report_error(struct config_report *report, struct spot spot, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_line(report, (struct lines){ &report->errors, &report->error_count, "" }, spot, format,
             args);
    va_end(args);
}

void report_warning(struct config_report *report, struct spot spot, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_line(report, (struct lines){ &report->warnings, &report->warning_count, "warning: " }, spot,
             format, args);
    va_end(args);
}

void report_timed(struct config_report *report, struct spot spot, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_line(report, (struct lines){ &report->warnings, &report->warning_count, "warning: " }, spot,
             format, args);
    va_end(args);
    report->timed_count++;
}

void report_note(struct config_report *report, struct spot spot, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_line(report, (struct lines){ &report->notes, &report->note_count, "note: " }, spot, format,
             args);
    va_end(args);
}

bool report_clean(const struct config_report *report)
{
    return report->error_count == 0;
}
