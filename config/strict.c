/*
 * A strict check of JSON text (RFC 8259) in which comments and a comma behind the last member or
 * element are allowed too. The result: where each value stands, and two copies of the text of the
 * same length, one without the comments and one without those commas too, which is JSON for cJSON.
 *
 * The check is needed because cJSON accepts garbage behind the value, raw control characters,
 * numbers such as 01 and 1., and a NUL in a string (at which cJSON cuts the string). Recursion is
 * bounded by TREE_DEPTH_MAX.
 */
#include "common/grow.h"
#include "common/utf8.h"
#include "config/tree.h"

#include <stdio.h>

struct strict {
    struct slice text;
    const char *at, *end;
    size_t from; /* of the member or element that is being read */
    unsigned depth;
    struct buf path; /* of the value being read, for the report */
    const char *file;
    struct config_report *report;
    struct strict_result *result;
    size_t marks_size;
};

static bool strict_value(struct strict *s);

static size_t offset_of(const struct strict *s, const char *at)
{
    return (size_t)(at - s->text.data);
}

/* Describes the character at the cursor. */
static void strict_here(const struct strict *s, char here[32])
{
    static const size_t lens[16] = { [0xc] = 2, [0xd] = 2, [0xe] = 3, [0xf] = 4 };
    unsigned char c = s->at < s->end ? (unsigned char)*s->at : 0;

    if (s->at == s->end)
        snprintf(here, 32, "the end of the file");
    else if (c > 0x20 && c < 0x7f)
        snprintf(here, 32, "'%c'", c);
    else if (c > 0xc2) /* what a word processor makes of a quote; the text is UTF-8 */
        snprintf(here, 32, "'%.*s'", (int)lens[c >> 4], s->at);
    else
        snprintf(here, 32, "byte 0x%02x", (unsigned)c);
}

static void strict_report(struct strict *s, struct mark mark, const char *found,
                          const char *allowed)
{
    report_error(s->report, (struct spot){ s->file, buf_text(&s->path), mark },
                 "found %s, allowed %s", found, allowed);
}

/* Reports a fault at `at`. Always returns false. */
static bool strict_fault_at(struct strict *s, const char *at, const char *found,
                            const char *allowed)
{
    struct mark mark = { .kind = MARK_FAULT, .at = (uint32_t)offset_of(s, at), .len = 1 };

    mark.from = (uint32_t)(s->from < mark.at ? s->from : mark.at);
    strict_report(s, mark, found, allowed);
    return false;
}

/* Reports a fault at the cursor; at the end of the file: behind the last character that counts.
 * found NULL: the character at the cursor. Always returns false. */
static bool strict_fault(struct strict *s, const char *found, const char *allowed)
{
    const char *at = s->at, *shown = s->result->shown;
    char here[32], hinted[160];

    strict_here(s, here);
    if (s->at < s->end && (*s->at == '#' || *s->at == '/'))
        snprintf(hinted, sizeof hinted, "%s; a comment is // or /* */", allowed);
    else if (s->at < s->end && *s->at == '\'')
        snprintf(hinted, sizeof hinted, "%s; a string stands in double quotes", allowed);
    else
        snprintf(hinted, sizeof hinted, "%s", allowed);
    if (at == s->end)
        while (at > s->text.data && strchr(" \t\r\n", shown[offset_of(s, at) - 1]))
            at--;
    return strict_fault_at(s, at, found ? found : here, found ? allowed : hinted);
}
static bool strict_at(const struct strict *s, const char *word)
{
    return slice_starts(slice_make(s->at, (size_t)(s->end - s->at)), slice_of(word));
}

/* Passes a comment and takes its text out of both copies, line ends excepted. A lone CR ends a line
 * for some editors, so a comment ends there too: no text may look alive and be dead. */
static bool strict_comment(struct strict *s)
{
    const char *start = s->at;
    bool block = start[1] == '*';

    s->at += 2;
    while (s->at < s->end && (block ? !strict_at(s, "*/") : *s->at != '\n' && *s->at != '\r'))
        s->at++;
    if (block && s->at == s->end)
        return strict_fault_at(s, start, "a comment without its end", "*/ behind it");
    if (block)
        s->at += 2;
    for (size_t i = offset_of(s, start); i < offset_of(s, s->at); i++)
        if (s->text.data[i] != '\n')
            s->result->shown[i] = s->result->clean[i] = ' ';
    return true;
}

/* Passes white space and comments. */
static bool strict_space(struct strict *s)
{
    while (s->at < s->end) {
        if (strict_at(s, "//") || strict_at(s, "/*")) {
            if (!strict_comment(s))
                return false;
        } else if (*s->at == ' ' || *s->at == '\t' || *s->at == '\r' || *s->at == '\n') {
            s->at++;
        } else {
            break;
        }
    }
    return true;
}

static bool take_char(struct strict *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool at_digit(const struct strict *s)
{
    return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

static size_t skip_digits(struct strict *s)
{
    const char *start = s->at;

    while (at_digit(s))
        s->at++;
    return (size_t)(s->at - start);
}

/* Reads the four hexadecimal digits of \uXXXX; -1 when there are not four. */
static int strict_hex4(struct strict *s)
{
    int value = 0;

    for (int i = 0; i < 4; i++, s->at++) {
        if (s->at == s->end)
            return -1;
        char c = *s->at;
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value * 16 + ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* Behind "\u". A high surrogate needs its low one (RFC 8259 section 7). */
static bool strict_unicode(struct strict *s)
{
    int unit = strict_hex4(s);

    if (unit < 0)
        return strict_fault(s, NULL, "four hexadecimal digits after \\u");
    if (unit == 0)
        return strict_fault(s, "\\u0000 in a string", "text without NUL");
    if (unit < 0xd800 || unit > 0xdfff)
        return true;
    if (unit < 0xdc00 && take_char(s, '\\') && take_char(s, 'u')) {
        unit = strict_hex4(s);
        if (unit >= 0xdc00 && unit <= 0xdfff)
            return true;
    }
    return strict_fault(s, "half a surrogate pair", "both halves");
}

static bool strict_escape(struct strict *s)
{
    if (s->at == s->end)
        return strict_fault(s, NULL, "an escaped character");
    switch (*s->at) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        s->at++;
        return true;
    case 'u':
        s->at++;
        return strict_unicode(s);
    default:
        return strict_fault(s, NULL, "one of \" \\ / b f n r t u after a backslash");
    }
}

static bool strict_string(struct strict *s)
{
    if (!take_char(s, '"'))
        return strict_fault(s, NULL, "a string in double quotes");
    while (s->at < s->end) {
        if (take_char(s, '"'))
            return true;
        if (take_char(s, '\\')) {
            if (!strict_escape(s))
                return false;
        } else if (*s->at == '\n' || *s->at == '\r') {
            return strict_fault(s, "the end of the line", "the closing double quote before it");
        } else if ((unsigned char)*s->at < 0x20) {
            return strict_fault(s, NULL, "text without raw control characters");
        } else {
            s->at++;
        }
    }
    return strict_fault(s, NULL, "the closing double quote");
}

/* Marks a value that ends at the cursor. */
static struct mark mark_of(const struct strict *s, const char *start)
{
    return (struct mark){ .kind = MARK_READ,
                          .at = (uint32_t)offset_of(s, start),
                          .len = (uint32_t)(s->at - start),
                          .from = (uint32_t)s->from };
}

/* Accepts whole numbers of bounded length only: no key takes others, and cJSON would round them. A
 * number that is well formed but too long or fractional is reported and passed, so that later
 * faults are found too. */
static bool strict_number(struct strict *s)
{
    const char *start = s->at;
    bool whole = true;
    size_t digits;

    take_char(s, '-');
    if (take_char(s, '0'))
        digits = 1;
    else if ((digits = skip_digits(s)) == 0)
        return strict_fault(s, NULL, "a digit");
    if (at_digit(s))
        return strict_fault_at(s, start, "a number that begins with 0",
                               "a number without leading zeros");
    if (take_char(s, '.')) {
        whole = false;
        if (skip_digits(s) == 0)
            return strict_fault(s, NULL, "a digit");
    }
    if (take_char(s, 'e') || take_char(s, 'E')) {
        whole = false;
        if (!take_char(s, '+'))
            take_char(s, '-');
        if (skip_digits(s) == 0)
            return strict_fault(s, NULL, "a digit");
    }
    if (!whole || digits > TREE_DIGITS_MAX) {
        char found[48];
        int len = (int)(s->at - start > 40 ? 40 : s->at - start);
        snprintf(found, sizeof found, "%.*s", len, start);
        strict_report(s, mark_of(s, start), found,
                      "a whole number of at most 15 digits, without fraction or exponent");
    }
    /* cJSON reads 63 characters of a number at most and stumbles over the rest. */
    return s->at - start < 60 ||
           strict_fault_at(s, start, "a number that long", "at most 15 digits");
}

static bool strict_word(struct strict *s)
{
    static const char *const words[] = { "true", "false", "null" };

    for (size_t i = 0; i < 3; i++)
        if (strict_at(s, words[i])) {
            s->at += strlen(words[i]);
            return true;
        }
    return strict_fault(s, NULL, "a JSON value");
}

static bool strict_member(struct strict *s)
{
    size_t path_len = s->path.len;
    const char *name = s->at;

    s->from = offset_of(s, name);
    if (!strict_string(s))
        return false;
    if (path_len)
        buf_add_char(&s->path, '.');
    buf_add(&s->path, name + 1, (size_t)(s->at - name) - 2);
    if (!strict_space(s))
        return false;
    if (!take_char(s, ':'))
        return strict_fault(s, NULL, "':'");
    if (!strict_value(s))
        return false;
    s->path.len = path_len;
    return true;
}

static bool strict_element(struct strict *s, size_t index)
{
    size_t path_len = s->path.len;

    s->from = offset_of(s, s->at);
    buf_addf(&s->path, "[%zu]", index);
    if (!strict_value(s))
        return false;
    s->path.len = path_len;
    return true;
}

/* Takes a comma, unless `close` follows it: then the comma leaves the copy for cJSON. *last:
 * `close` has been taken. */
static bool strict_comma(struct strict *s, char close, bool *last)
{
    size_t comma = offset_of(s, s->at);

    if (!take_char(s, ','))
        return strict_fault(s, NULL, close == '}' ? "',' or '}'" : "',' or ']'");
    if (!strict_space(s))
        return false;
    *last = take_char(s, close);
    if (*last)
        s->result->clean[comma] = ' ';
    return true;
}

/* Behind the opening bracket, up to and including `close`. */
static bool strict_inside(struct strict *s, char close)
{
    bool last;

    if (++s->depth > TREE_DEPTH_MAX)
        return strict_fault_at(s, s->at - 1, "deeper nesting", "32 levels");
    if (!strict_space(s))
        return false;
    last = take_char(s, close);
    for (size_t i = 0; !last; i++) {
        if (!(close == '}' ? strict_member(s) : strict_element(s, i)) || !strict_space(s))
            return false;
        last = take_char(s, close);
        if (!last && !strict_comma(s, close, &last))
            return false;
    }
    s->depth--;
    return true;
}

/* Notes where the value begins. Without memory no value has a mark: the marks are found by their
 * number. */
static void strict_mark(struct strict *s)
{
    struct strict_result *result = s->result;

    if (result->lost ||
        grow_reserve(&result->marks, &s->marks_size, result->count + 1, 256, TREE_BYTES_MAX)) {
        result->lost = true;
        return;
    }
    result->marks[result->count++] = (struct mark){
        .kind = MARK_READ, .at = (uint32_t)offset_of(s, s->at), .len = 1, .from = (uint32_t)s->from
    };
}

static bool strict_scalar(struct strict *s)
{
    size_t mark = s->result->count;
    const char *start = s->at;

    strict_mark(s);
    if (!(*s->at == '"'                  ? strict_string(s)
          : at_digit(s) || *s->at == '-' ? strict_number(s)
                                         : strict_word(s)))
        return false;
    if (!s->result->lost)
        s->result->marks[mark].len = (uint32_t)(s->at - start);
    return true;
}

static bool strict_value(struct strict *s)
{
    if (!strict_space(s))
        return false;
    if (s->at == s->end)
        return strict_fault(s, NULL, "a JSON value");
    if (*s->at != '{' && *s->at != '[')
        return strict_scalar(s);
    strict_mark(s);
    return strict_inside(s, *s->at++ == '{' ? '}' : ']');
}

static bool strict_file(struct strict *s)
{
    if (strict_at(s, "\xef\xbb\xbf"))
        return strict_fault(s, "a byte order mark", "a file that begins with '{' or a comment");
    if (!strict_space(s))
        return false;
    if (s->at == s->end || *s->at != '{')
        return strict_fault(s, NULL, "one JSON object, beginning with '{'");
    if (!strict_value(s) || !strict_space(s))
        return false;
    return s->at == s->end || strict_fault(s, NULL, "nothing after the object");
}

/* Nothing of the line is shown: where comments are is not known, nor what the bytes mean. */
static bool strict_not_utf8(struct strict *s)
{
    struct utf8_state state = { 0 };
    size_t at = 0;

    while (at < s->text.len && utf8_feed(&state, (const uint8_t *)s->text.data + at, 1))
        at++;
    strict_report(s, (struct mark){ .kind = MARK_RAW, .at = (uint32_t)at },
                  "bytes that are not UTF-8", "UTF-8");
    return false;
}

bool strict_check(struct slice text, const char *file, struct config_report *report,
                  struct strict_result *result)
{
    struct strict s = { .text = text,
                        .at = text.data,
                        .end = text.data + text.len,
                        .file = file,
                        .report = report,
                        .result = result };
    bool good;

    buf_init(&s.path, 4096);
    good = utf8_valid(text) ? strict_file(&s) : strict_not_utf8(&s);
    buf_fini(&s.path);
    return good;
}
