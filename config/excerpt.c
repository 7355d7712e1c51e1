/*
 * A line of a configuration file, with a mark under a part of it:
 *
 *         "limits": { "burst": -1, "level": "***" }
 *                              ^^
 *
 * A string is taken for a secret: a file may hold a Redis password, where nobody expects a
 * password. Names are shown, and the marked string when the caller says so. The text of comments is
 * blank already (strict.c). Behind a fault nothing is known, so a line with an '@' ends there: a
 * password with a quote in it would otherwise be shown as what it is not.
 *
 * The mark stands where a terminal shows the part: a Chinese character takes two cells.
 */
#include "config/report.h"

#include "common/utf8.h"

enum {
    LEAD_BYTES_MAX = 80, /* shown before the mark; of a longer line the member alone is shown */
    CELLS_MAX = 110,     /* of the line */
};

struct excerpt {
    struct buf *out;
    size_t cells, mark_from, mark_to;
    bool marked, full;
};

/* Ranges of characters that take two cells (Unicode, East Asian Width: W and F), roughly. */
static size_t cells_of(uint32_t c)
{
    static const uint32_t wide[][2] = { { 0x1100, 0x115f },   { 0x2e80, 0xa4cf },
                                        { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },
                                        { 0xfe30, 0xfe6f },   { 0xff00, 0xff60 },
                                        { 0xffe0, 0xffe6 },   { 0x1f300, 0x1f64f },
                                        { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd } };

    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        if (c >= wide[i][0] && c <= wide[i][1])
            return 2;
    return 1;
}

/* Controls steer a terminal; marks of direction, and characters without a width, hide text. */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x2069) || c == 0xfeff;
}

/* Returns the length of the character at the beginning of text; 0: no UTF-8, or none to show. */
static size_t character(struct slice text, uint32_t *c)
{
    unsigned char first = (unsigned char)text.data[0];
    size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (len > text.len || !utf8_valid(slice_make(text.data, len)))
        return 0;
    *c = len == 1 ? first : first & (0x7fU >> len);
    for (size_t i = 1; i < len; i++)
        *c = *c << 6 | ((unsigned char)text.data[i] & 0x3f);
    return is_hidden(*c) ? 0 : len;
}

static void add_bytes(struct excerpt *e, struct slice text)
{
    while (text.len && !e->full) {
        uint32_t c = '?';
        size_t len = character(text, &c);
        if (len)
            buf_add(e->out, text.data, len);
        else
            buf_add_char(e->out, *text.data == '\t' ? ' ' : '?');
        e->cells += len ? cells_of(c) : 1;
        for (len += len == 0; len < text.len && ((unsigned char)text.data[len] & 0xc0) == 0x80;)
            len++; /* the rest of a character that is not shown */
        text = slice_make(text.data + len, text.len - len);
        if (e->cells >= CELLS_MAX) {
            e->full = true;
            buf_add_text(e->out, "...");
        }
    }
}

/* Returns where the string that begins at `at` ends: behind its closing quote, or at `end`. */
static size_t string_end(struct slice text, size_t at, size_t end, bool *closed)
{
    *closed = false;
    for (at++; at < end && !*closed; at++) {
        *closed = text.data[at] == '"';
        at += text.data[at] == '\\' && at + 1 < end;
    }
    return at;
}

/* Does a colon follow? A colon that is the fault makes no name: `"uri": "redis://me:ab":c@host"`.
 */
static bool is_name(struct slice text, size_t at, size_t end, const struct mark *mark)
{
    while (at < end && (text.data[at] == ' ' || text.data[at] == '\t'))
        at++;
    return at < end && text.data[at] == ':' && !(mark->kind == MARK_FAULT && mark->at == at);
}

/* Adds a part of the line that begins at `at`, the whole of a string or one byte, and returns where
 * it ends. */
static size_t add_part(struct excerpt *e, struct slice text, size_t at, size_t end,
                       const struct mark *mark, bool show)
{
    bool closed = true, marked;
    size_t stop = at + 1;

    if (text.data[at] == '"')
        stop = string_end(text, at, end, &closed);
    else
        while (stop < end && ((unsigned char)text.data[stop] & 0xc0) == 0x80)
            stop++;
    marked = mark->at < stop + !closed && mark->at + mark->len > at;
    if (marked && !e->marked)
        e->mark_from = e->cells;
    if (text.data[at] != '"' || (closed && is_name(text, stop, end, mark)) || (marked && show))
        add_bytes(e, slice_make(text.data + at, stop - at));
    else
        add_bytes(e, closed ? SLICE("\"***\"") : SLICE("\"***"));
    if (marked)
        e->mark_to = e->cells;
    e->marked = e->marked || marked;
    return stop;
}

static void add_mark(struct excerpt *e)
{
    size_t from = e->marked ? e->mark_from : e->cells, to = e->marked ? e->mark_to : from + 1;

    buf_add_text(e->out, "\n" EXCERPT_INDENT);
    for (size_t i = 0; i < from; i++)
        buf_add_char(e->out, ' ');
    for (size_t i = from; i < to; i++)
        buf_add_char(e->out, '^');
    buf_add_char(e->out, '\n');
}

static size_t line_begin(struct slice text, size_t at)
{
    while (at > 0 && text.data[at - 1] != '\n')
        at--;
    return at;
}

static size_t line_end(struct slice text, size_t at)
{
    const char *end = at < text.len ? memchr(text.data + at, '\n', text.len - at) : NULL;
    size_t stop = end ? (size_t)(end - text.data) : text.len;

    while (stop > at && strchr(" \t\r", text.data[stop - 1]))
        stop--;
    return stop;
}

void excerpt_add(struct buf *out, struct slice text, const struct mark *mark, bool show)
{
    struct excerpt e = { .out = out };
    size_t at = line_begin(text, mark->at), end = line_end(text, mark->at), begin = at;
    bool fault = mark->kind == MARK_FAULT;
    bool comment = fault && end > mark->at && text.data[mark->at] == '/';
    bool stop_behind = fault && (comment || !show || memchr(text.data + at, '@', end - at));

    buf_add_text(out, EXCERPT_INDENT);
    if (mark->at - at > LEAD_BYTES_MAX) {
        bool near = mark->from >= at && mark->at - mark->from <= LEAD_BYTES_MAX;
        begin = near ? mark->from : mark->at;
        stop_behind = stop_behind || (fault && !near); /* may be within a string */
        add_bytes(&e, SLICE("... "));
    }
    for (at = begin; at < end && !e.full;) {
        if (stop_behind && at > mark->at) {
            add_bytes(&e, SLICE("..."));
            break;
        }
        if (text.data[at] == '/' && fault && at > mark->at)
            break; /* a comment that has not been read */
        at = add_part(&e, text, at, end, mark, show && !stop_behind);
    }
    add_mark(&e);
}
