/*
 * Reads text that json.c accepted (walks containers, unescapes strings), and writes strings.
 *
 * Nothing here checks the grammar again; json.c has done so, once.
 */
#include "common/json_text.h"

unsigned json_next_char(const char **at, char out[4])
{
    static const char short_from[] = "\"\\/bfnrt", short_to[] = "\"\\/\b\f\n\r\t";
    const char *p = *at;
    uint32_t code = 0, low = 0;

    if (p[0] != '\\') {
        out[0] = p[0];
        *at = p + 1;
        return 1;
    }
    if (p[1] != 'u') {
        out[0] = short_to[strchr(short_from, p[1]) - short_from];
        *at = p + 2;
        return 1;
    }
    json_hex4(p + 2, p + 6, &code);
    *at = p + 6;
    if (code >= 0xD800 && code <= 0xDBFF) { /* the scan has checked that a low surrogate follows */
        json_hex4(p + 8, p + 12, &low);
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        *at = p + 12;
    }
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

size_t json_unescape(const struct json_value *value, char *out)
{
    struct slice inside = json_inside(value);
    const char *at = inside.data, *end = inside.data + inside.len;
    char *to = out;

    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t len = (size_t)((escape ? escape : end) - at);
        char c[4];
        memcpy(to, at, len);
        to += len;
        at += len;
        if (!escape)
            break;
        unsigned bytes = json_next_char(&at, c);
        memcpy(to, c, bytes); /* never more than the escape was long */
        to += bytes;
    }
    return (size_t)(to - out);
}

struct slice json_string(const struct json_value *value, struct arena *arena)
{
    char *out;

    if (!value->escaped)
        return json_inside(value);
    out = arena_take(arena, value->text.len);
    return slice_make(out, out ? json_unescape(value, out) : 0);
}

bool json_key_equal(const struct json_value *key, struct slice name)
{
    struct slice inside = json_inside(key);
    const char *at = inside.data, *end = inside.data + inside.len;
    size_t used = 0;

    if (!key->escaped)
        return slice_equal(inside, name);
    while (at < end) {
        char c[4];
        unsigned len = json_next_char(&at, c);
        if (len > name.len - used || memcmp(name.data + used, c, len) != 0)
            return false;
        used += len;
    }
    return used == name.len;
}

void json_walk_begin(struct json_walk *walk, const struct json_value *container)
{
    walk->at = container->text.data + 1;
    walk->end = container->text.data + container->text.len - 1;
}

/* Moves to the next value or key. Commas and colons were checked by the scan, and are passed like
 * white space. */
static bool walk_on(struct json_walk *walk)
{
    const char *at = walk->at;

    while (at < walk->end && (*at == ',' || *at == ':' || json_is_space(*at)))
        at++;
    walk->at = at;
    return at < walk->end;
}

/* `at` is on the opening quote. Returns a pointer behind the closing quote. */
static const char *pass_string(const char *at, const char *end, bool *escaped)
{
    for (at++; (at = json_plain_end(at, end)) < end && *at != '"'; at += 2)
        *escaped = true; /* a good string stops here only for a backslash */
    return at < end ? at + 1 : end;
}

static const char *pass_container(const char *at, const char *end)
{
    size_t open = 0;

    while (at < end) {
        bool escaped;
        char c = *at;
        if (c == '"') {
            at = pass_string(at, end, &escaped);
            continue;
        }
        at++;
        open += c == '{' || c == '[';
        open -= c == '}' || c == ']';
        if (open == 0)
            break;
    }
    return at;
}

static void walk_value(struct json_walk *walk, struct json_value *value)
{
    const char *start = walk->at;

    value->escaped = false;
    switch (*start) {
    case '"':
        value->type = JSON_STRING;
        walk->at = pass_string(start, walk->end, &value->escaped);
        break;
    case '{':
    case '[':
        value->type = *start == '{' ? JSON_OBJECT : JSON_ARRAY;
        walk->at = pass_container(start, walk->end);
        break;
    default:
        value->type = *start == 't'   ? JSON_TRUE
                      : *start == 'f' ? JSON_FALSE
                      : *start == 'n' ? JSON_NULL
                                      : JSON_NUMBER;
        while (walk->at < walk->end && *walk->at != ',' && !json_is_space(*walk->at))
            walk->at++;
    }
    value->text = slice_make(start, (size_t)(walk->at - start));
}

bool json_walk_element(struct json_walk *walk, struct json_value *value)
{
    if (!walk_on(walk))
        return false;
    walk_value(walk, value);
    return true;
}

bool json_walk_member(struct json_walk *walk, struct json_value *key, struct json_value *value,
                      struct slice *span)
{
    const char *start;

    if (!walk_on(walk))
        return false;
    start = walk->at;
    walk_value(walk, key);
    key->text = json_inside(key);
    if (!walk_on(walk))
        return false;
    walk_value(walk, value);
    if (span)
        *span = slice_make(start, (size_t)(walk->at - start));
    return true;
}

static enum err add_escape(struct buf *buf, char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
    const char *found = c ? strchr(from, c) : NULL;

    if (found)
        return buf_add(buf, (char[]){ '\\', to[found - from] }, 2);
    return buf_add(buf, (char[]){ '\\', 'u', '0', '0', hex[c >> 4 & 15], hex[c & 15] }, 6);
}

static enum err add_inside(struct buf *buf, struct slice text)
{
    const char *at = text.data, *end = text.len ? text.data + text.len : text.data;
    enum err err = OK;

    while (at < end && !err) {
        const char *plain = json_plain_end(at, end);
        err = buf_add(buf, at, (size_t)(plain - at));
        if (plain < end && !err)
            err = add_escape(buf, *plain++);
        at = plain;
    }
    return err;
}

enum err json_add_string(struct buf *buf, struct slice text)
{
    size_t len_before = buf->len;
    enum err err = buf_add_char(buf, '"');

    if (!err)
        err = add_inside(buf, text);
    if (!err)
        err = buf_add_char(buf, '"');
    if (err)
        buf->len = len_before; /* half a string is worse than none */
    return err;
}
