/*
 * A strict check of JSON text (RFC 8259) that keeps nothing: the result is only where the text is
 * not JSON.
 *
 * The check is needed because cJSON accepts garbage behind the value, raw control characters,
 * numbers such as 01 and 1., and a NUL in a string (at which cJSON cuts the string). Recursion is
 * bounded by TREE_DEPTH_MAX.
 */
#include "common/utf8.h"
#include "config/tree.h"

#include <stdio.h>

struct strict {
    const char *at, *end;
    size_t line;
    unsigned depth;
    struct buf path; /* of the value being read, for the report */
    const char *file;
    struct config_report *report;
};

static bool strict_value(struct strict *s);

/* Reports a fault. found NULL: the byte at the cursor. Always returns false. */
static bool strict_fault(struct strict *s, const char *found, const char *allowed)
{
    char file[4200], here[32];

    snprintf(file, sizeof file, "%s:%zu", s->file, s->line);
    if (!found) {
        if (s->at == s->end)
            snprintf(here, sizeof here, "the end of the file");
        else if (*s->at > 0x20 && *s->at < 0x7f)
            snprintf(here, sizeof here, "'%c'", *s->at);
        else
            snprintf(here, sizeof here, "byte 0x%02x", (unsigned)(unsigned char)*s->at);
        found = here;
    }
    report_error(s->report, (struct spot){ file, buf_text(&s->path) }, "found %s, allowed %s",
                 found, allowed);
    return false;
}

static void strict_space(struct strict *s)
{
    for (; s->at < s->end; s->at++) {
        if (*s->at == '\n')
            s->line++;
        else if (*s->at != ' ' && *s->at != '\t' && *s->at != '\r')
            return;
    }
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
        } else if ((unsigned char)*s->at < 0x20) {
            return strict_fault(s, NULL, "text without raw control characters");
        } else {
            s->at++;
        }
    }
    return strict_fault(s, NULL, "the closing double quote");
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
        return strict_fault(s, "a number that begins with 0", "a number without leading zeros");
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
        strict_fault(s, found, "a whole number of at most 15 digits, without fraction or exponent");
    }
    /* cJSON reads 63 characters of a number at most and stumbles over the rest. */
    return s->at - start < 60 || strict_fault(s, "a number that long", "at most 15 digits");
}

static bool strict_word(struct strict *s)
{
    static const char *const words[] = { "true", "false", "null" };

    for (size_t i = 0; i < 3; i++)
        if (slice_starts(slice_make(s->at, (size_t)(s->end - s->at)), slice_of(words[i]))) {
            s->at += strlen(words[i]);
            return true;
        }
    return strict_fault(s, NULL, "a JSON value");
}

static bool strict_member(struct strict *s)
{
    size_t path_len = s->path.len;
    const char *name = s->at;

    if (!strict_string(s))
        return false;
    if (path_len)
        buf_add_char(&s->path, '.');
    buf_add(&s->path, name + 1, (size_t)(s->at - name) - 2);
    strict_space(s);
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

    buf_addf(&s->path, "[%zu]", index);
    if (!strict_value(s))
        return false;
    s->path.len = path_len;
    return true;
}

/* Behind the opening bracket, up to and including `close`. */
static bool strict_inside(struct strict *s, char close)
{
    if (++s->depth > TREE_DEPTH_MAX)
        return strict_fault(s, "deeper nesting", "32 levels");
    strict_space(s);
    if (take_char(s, close)) {
        s->depth--;
        return true;
    }
    for (size_t i = 0;; i++) {
        strict_space(s);
        if (!(close == '}' ? strict_member(s) : strict_element(s, i)))
            return false;
        strict_space(s);
        if (take_char(s, close))
            break;
        if (!take_char(s, ','))
            return strict_fault(s, NULL, close == '}' ? "',' or '}'" : "',' or ']'");
    }
    s->depth--;
    return true;
}

static bool strict_value(struct strict *s)
{
    strict_space(s);
    if (take_char(s, '{'))
        return strict_inside(s, '}');
    if (take_char(s, '['))
        return strict_inside(s, ']');
    if (s->at < s->end && *s->at == '"')
        return strict_string(s);
    if (at_digit(s) || (s->at < s->end && *s->at == '-'))
        return strict_number(s);
    return strict_word(s);
}

static bool strict_file(struct strict *s)
{
    strict_space(s);
    if (s->at == s->end || *s->at != '{')
        return strict_fault(s, NULL, "one JSON object, beginning with '{'");
    if (!strict_value(s))
        return false;
    strict_space(s);
    return s->at == s->end || strict_fault(s, NULL, "nothing after the object");
}

bool strict_check(struct slice text, const char *file, struct config_report *report)
{
    struct strict s = {
        .at = text.data, .end = text.data + text.len, .line = 1, .file = file, .report = report
    };
    bool good;

    if (text.len > TREE_BYTES_MAX) {
        report_error(report, (struct spot){ file, "" }, "found %zu bytes, allowed %d", text.len,
                     TREE_BYTES_MAX);
        return false;
    }
    buf_init(&s.path, 4096);
    good =
        utf8_valid(text) ? strict_file(&s) : strict_fault(&s, "bytes that are not UTF-8", "UTF-8");
    buf_fini(&s.path);
    return good;
}
