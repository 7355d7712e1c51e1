#include "master/reload_answer.h"

#include "common/json.h"

/* Takes decimal digits and the colon behind them. False: others are there. */
static bool take_position(struct slice *rest, uint32_t *number)
{
    size_t at = 0;

    *number = 0;
    while (at < rest->len && at < 9 && rest->data[at] >= '0' && rest->data[at] <= '9')
        *number = *number * 10 + (uint32_t)(rest->data[at++] - '0');
    if (at == 0 || at == rest->len || rest->data[at] != ':')
        return false;
    *rest = slice_make(rest->data + at + 1, rest->len - at - 1);
    return true;
}

/* The first "FILE:LINE:COLUMN:" of a line of the report. Returns what is behind the colon; data
 * NULL: there is no such beginning. */
static struct slice behind_position(struct slice text, uint32_t *line, uint32_t *column)
{
    for (size_t at = 0; at < text.len; at++) {
        struct slice rest = slice_make(text.data + at + 1, text.len - at - 1);
        if (text.data[at] == ':' && take_position(&rest, line) && take_position(&rest, column))
            return rest;
    }
    return (struct slice){ NULL, 0 };
}

/* {"line":N,"column":N,"message":"…"}; without a position the message is the whole line. */
static void add_fault(struct buf *out, struct slice text)
{
    uint32_t line, column;
    struct slice rest = behind_position(text, &line, &column);

    buf_add_char(out, '{');
    if (rest.data) {
        buf_addf(out, "\"line\":%u,\"column\":%u,", line, column);
        text = rest;
        while (text.len && text.data[0] == ' ')
            text = slice_make(text.data + 1, text.len - 1);
    }
    buf_add_text(out, "\"message\":");
    json_add_string(out, text);
    buf_add_char(out, '}');
}

static void add_faults(struct buf *out, const char *name, struct slice lines)
{
    struct slice line;
    bool first = true;

    buf_addf(out, ",\"%s\":[", name);
    while (config_report_next(&lines, &line)) {
        if (!first)
            buf_add_char(out, ',');
        add_fault(out, line);
        first = false;
    }
    buf_add_char(out, ']');
}

/* The keys that are applied in this way. */
static void add_keys(struct buf *out, const char *name, enum config_apply apply,
                     const struct config_change *changes, size_t count)
{
    bool first = true;

    buf_addf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        if (changes[i].apply != apply)
            continue;
        if (!first)
            buf_add_char(out, ',');
        json_add_string(out, slice_of(changes[i].key));
        first = false;
    }
    buf_add_char(out, ']');
}

void reload_answer_changes(struct buf *out, bool is_applied, const struct config_change *changes,
                           size_t count, const struct config_report *report)
{
    buf_addf(out, "\"applied\":%s", is_applied ? "true" : "false");
    add_keys(out, "live", CONFIG_LIVE, changes, count);
    add_keys(out, "swapped", CONFIG_SWAP, changes, count);
    add_keys(out, "restart", CONFIG_RESTART, changes, count);
    add_faults(out, "warnings", buf_slice(&report->warnings));
}

void reload_answer_refused(struct buf *out, const struct config_report *report)
{
    buf_add_text(out, "\"applied\":false");
    add_faults(out, "errors", buf_slice(&report->errors));
    add_faults(out, "warnings", buf_slice(&report->warnings));
}
