/*
 * A strict RFC 8259 scanner: one pass over the text, no tree, no recursion.
 *
 * The one idea: most bytes of a message are inside strings, where only the quote, the backslash and
 * control characters matter. So strings are passed a vector at a time; the rest is a switch over
 * one byte, with a small stack of the brackets that are open.
 *
 * Keys given twice are found by a hash of each key of the objects that are open
 * (common/json_keys.h). The scanner never converts a number, and never reads past the end of the
 * text.
 */
#include "common/json.h"

#include "common/json_keys.h"
#include "common/json_text.h"

#include <assert.h>

struct scan {
    const char *at, *end;
    const char *reason; /* of the fault at `at`; NULL while there is none */
    bool no_memory;
    unsigned depth, depth_max;
    struct json_keys *keys;
    json_member_fn *tell; /* of the outermost object's members; may be NULL */
    void *context;
    struct json_member member; /* the outermost member that is being read */
    bool in_object[JSON_DEPTH_LIMIT];
};

static bool scan_fail(struct scan *scan, const char *at, const char *reason)
{
    scan->at = at;
    scan->reason = reason;
    return false;
}

static inline void scan_space(struct scan *scan)
{
    while (scan->at < scan->end && json_is_space(*scan->at))
        scan->at++;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* `at` is on a backslash. Returns a pointer behind the escape; NULL after a fault. */
static const char *scan_escape(struct scan *scan, const char *at)
{
    const char *escape = at;
    uint32_t unit, low;

    if (scan->end - at < 2) {
        scan_fail(scan, at, "unfinished string");
        return NULL;
    }
    if (at[1] != 'u') {
        if (at[1] && strchr("\"\\/bfnrt", at[1]))
            return at + 2;
        scan_fail(scan, escape, "unknown escape");
        return NULL;
    }
    if (!json_hex4(at + 2, scan->end, &unit)) {
        scan_fail(scan, escape, "\\u needs four hexadecimal digits");
        return NULL;
    }
    at += 6;
    if (unit == 0) {
        scan_fail(scan, escape, "\\u0000 is not allowed");
        return NULL;
    }
    if (unit < 0xD800 || unit > 0xDFFF)
        return at;
    /* UTF-16 in JSON: a high surrogate and its low one, or nothing (RFC 8259 8.2). */
    if (unit > 0xDBFF || scan->end - at < 6 || at[0] != '\\' || at[1] != 'u' ||
        !json_hex4(at + 2, scan->end, &low) || low < 0xDC00 || low > 0xDFFF) {
        scan_fail(scan, escape, "lone surrogate");
        return NULL;
    }
    return at + 6;
}

/* scan->at is on a quote. Passes the string, whose text is without the quotes. */
static inline bool scan_string(struct scan *scan, struct json_value *string)
{
    const char *start = scan->at + 1, *at = start;

    string->type = JSON_STRING;
    string->escaped = false;
    for (;;) {
        at = json_plain_end(at, scan->end);
        if (at == scan->end)
            return scan_fail(scan, at, "unfinished string");
        if (*at == '"')
            break;
        if (*at != '\\')
            return scan_fail(scan, at, "raw control character in a string");
        string->escaped = true;
        at = scan_escape(scan, at);
        if (!at)
            return false;
    }
    string->text = slice_make(start, (size_t)(at - start));
    scan->at = at + 1;
    return true;
}

/* One digit or more. */
static bool scan_digits(struct scan *scan)
{
    const char *start = scan->at;

    while (scan->at < scan->end && is_digit(*scan->at))
        scan->at++;
    return scan->at > start || scan_fail(scan, scan->at, "bad number");
}

static bool scan_number(struct scan *scan)
{
    if (*scan->at == '-')
        scan->at++;
    if (scan->at < scan->end && *scan->at == '0')
        scan->at++; /* nothing but a fraction or an exponent may follow; 01 ends here and fails */
    else if (!scan_digits(scan))
        return false;
    if (scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        if (!scan_digits(scan))
            return false;
    }
    if (scan->at < scan->end && (*scan->at == 'e' || *scan->at == 'E')) {
        scan->at++;
        if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
            scan->at++;
        if (!scan_digits(scan))
            return false;
    }
    return true;
}

static bool scan_word(struct scan *scan, struct slice word)
{
    if (!slice_starts(slice_make(scan->at, (size_t)(scan->end - scan->at)), word))
        return scan_fail(scan, scan->at, "not a JSON value");
    scan->at += word.len;
    return true;
}

static bool scan_open(struct scan *scan, bool object)
{
    if (scan->depth == scan->depth_max)
        return scan_fail(scan, scan->at, "nested too deeply");
    scan->in_object[scan->depth] = object;
    if (object)
        json_keys_open(scan->keys, scan->depth);
    scan->depth++;
    scan->at++;
    return true;
}

static bool scan_close(struct scan *scan)
{
    scan->depth--;
    if (scan->in_object[scan->depth]) {
        enum err err = json_keys_close(scan->keys, scan->depth);
        scan->no_memory = err == ERR_NOMEM;
        if (err)
            return scan_fail(scan, scan->at,
                             err == ERR_NOMEM ? "out of memory" : "key given twice");
    }
    scan->at++;
    return true;
}

/* A key and its colon. */
static inline bool scan_key(struct scan *scan)
{
    struct json_value key;
    const char *start = scan->at;
    enum err err;

    if (start == scan->end || *start != '"')
        return scan_fail(scan, start, "a key must be a string");
    if (!scan_string(scan, &key))
        return false;
    err = json_keys_add(scan->keys, scan->depth - 1, &key);
    scan->no_memory = err == ERR_NOMEM;
    if (err)
        return scan_fail(scan, start, err == ERR_NOMEM ? "out of memory" : "key given twice");
    scan_space(scan);
    if (scan->at == scan->end || *scan->at != ':')
        return scan_fail(scan, scan->at, "a key needs a colon");
    scan->at++;
    if (scan->depth == 1) {
        scan->member.key = key;
        scan->member.span.data = start;
    }
    return true;
}

/* scan->at is on the first byte of a value. Passes a scalar, or opens a container; of a container
 * the text has its start only. */
static inline bool scan_value(struct scan *scan, struct json_value *value, bool *opened)
{
    const char *start = scan->at;
    bool good;

    *opened = false;
    value->escaped = false;
    if (start == scan->end)
        return scan_fail(scan, start, "a value is missing");
    switch (*start) {
    case '"':
        good = scan_string(scan, value);
        break;
    case '{':
    case '[':
        value->type = *start == '{' ? JSON_OBJECT : JSON_ARRAY;
        *opened = true;
        good = scan_open(scan, *start == '{');
        break;
    case 't':
        value->type = JSON_TRUE;
        good = scan_word(scan, SLICE("true"));
        break;
    case 'f':
        value->type = JSON_FALSE;
        good = scan_word(scan, SLICE("false"));
        break;
    case 'n':
        value->type = JSON_NULL;
        good = scan_word(scan, SLICE("null"));
        break;
    default:
        value->type = JSON_NUMBER;
        if (*start != '-' && !is_digit(*start))
            return scan_fail(scan, start, "not a JSON value");
        good = scan_number(scan);
        break;
    }
    value->text = slice_make(start, (size_t)(scan->at - start));
    return good;
}

/* A value has ended at the present depth. */
static inline void end_value(struct scan *scan, struct json_value *outermost)
{
    struct json_member *member = &scan->member;

    if (scan->depth == 0) {
        outermost->text.len = (size_t)(scan->at - outermost->text.data);
    } else if (scan->depth == 1 && scan->in_object[0] && scan->tell) {
        member->value.text.len = (size_t)(scan->at - member->value.text.data);
        member->span.len = (size_t)(scan->at - member->span.data);
        scan->tell(scan->context, member);
    }
}

/* scan->at is behind a value. Closes every container that ends here, and passes the comma before
 * the next value. False at the end of the outermost value, and after a fault. */
static inline bool scan_next(struct scan *scan, struct json_value *outermost)
{
    for (;;) {
        end_value(scan, outermost);
        if (scan->depth == 0)
            return false;
        scan_space(scan);
        bool object = scan->in_object[scan->depth - 1];
        if (scan->at == scan->end)
            return scan_fail(scan, scan->at, object ? "unfinished object" : "unfinished array");
        if (*scan->at == ',') {
            scan->at++;
            return true;
        }
        if (*scan->at != (object ? '}' : ']'))
            return scan_fail(scan, scan->at, "a comma or the end is missing");
        if (!scan_close(scan))
            return false;
    }
}

/* Scans the outermost value, on whose first byte scan->at is. The innermost open bracket says
 * whether a key or a value comes next. */
static void scan_text(struct scan *scan, struct json_value *outermost)
{
    struct json_value passed = { .type = JSON_NULL };

    for (;;) {
        struct json_value *value = scan->depth == 0   ? outermost
                                   : scan->depth == 1 ? &scan->member.value
                                                      : &passed;
        bool opened;
        if (scan->depth > 0 && scan->in_object[scan->depth - 1]) {
            if (!scan_key(scan))
                return;
            scan_space(scan);
        }
        if (!scan_value(scan, value, &opened))
            return;
        if (opened) {
            scan_space(scan);
            bool object = scan->in_object[scan->depth - 1];
            bool empty = scan->at < scan->end && *scan->at == (object ? '}' : ']');
            if (!empty)
                continue;
            if (!scan_close(scan))
                return;
        }
        if (!scan_next(scan, outermost))
            return;
        scan_space(scan);
    }
}

enum err json_check_members(struct slice text, unsigned depth_max, struct json_value *value,
                            struct json_fault *fault, json_member_fn *tell, void *context)
{
    struct json_keys keys; /* not cleared: large, and written before it is read */
    struct scan scan = {
        .at = text.data,
        .end = text.data ? text.data + text.len : NULL,
        .depth_max = depth_max < JSON_DEPTH_LIMIT ? depth_max : JSON_DEPTH_LIMIT,
        .keys = &keys,
        .tell = tell,
        .context = context,
    };

    json_keys_init(&keys);
    if (text.len == 0 || text.len > JSON_TEXT_MAX) {
        scan_fail(&scan, scan.at, text.len ? "too large" : "empty");
    } else {
        scan_space(&scan);
        scan_text(&scan, value);
    }
    if (!scan.reason) {
        scan_space(&scan);
        if (scan.at < scan.end)
            scan_fail(&scan, scan.at, "something follows the value");
    }
    json_keys_fini(&keys);
    if (!scan.reason)
        return OK;
    *fault = (struct json_fault){ scan.reason, text.len ? (size_t)(scan.at - text.data) : 0 };
    return scan.no_memory ? ERR_NOMEM : ERR_BAD;
}

enum err json_check(struct slice text, unsigned depth_max, struct json_value *value,
                    struct json_fault *fault)
{
    return json_check_members(text, depth_max, value, fault, NULL, NULL);
}

bool json_int(const struct json_value *value, int64_t *out)
{
    struct slice text = value->text;
    bool negative = text.len > 0 && text.data[0] == '-';
    uint64_t number = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;

    if (value->type != JSON_NUMBER || text.len > 20)
        return false; /* "-9223372036854775808" is the longest */
    for (size_t i = negative; i < text.len; i++) {
        if (!is_digit(text.data[i]))
            return false; /* a fraction or an exponent */
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (number > (limit - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}
