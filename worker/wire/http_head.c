#include "worker/wire/http_head.h"

struct slice http_head_method(const struct http_parser *parser, const char *head)
{
    return slice_make(head + parser->method_at, parser->method_len);
}

struct slice http_head_path(const struct http_parser *parser, const char *head)
{
    struct slice path = slice_make(head + parser->target_at, parser->target_len);
    const char *mark = memchr(path.data, '?', path.len);

    if (path.len == 0 || path.data[0] != '/')
        return (struct slice){ NULL, 0 };
    if (mark)
        path.len = (size_t)(mark - path.data);
    return path;
}

bool http_head_next(const struct http_parser *parser, const char *head, struct slice name,
                    uint32_t *at, struct slice *value)
{
    while (*at < parser->header_count) {
        const struct http_header *header = &parser->headers[(*at)++];
        if (slice_equal_nocase(slice_make(head + header->name_at, header->name_len), name)) {
            *value = slice_make(head + header->value_at, header->value_len);
            return true;
        }
    }
    return false;
}

bool http_path_served(const struct http_paths *paths, struct slice path)
{
    for (size_t i = 0; i < paths->count; i++) {
        struct slice item = slice_of(paths->items[i]);
        if (item.len && item.data[item.len - 1] == '*') {
            item.len--;
            if (slice_starts(path, item))
                return true;
        } else if (slice_equal(path, item)) {
            return true;
        }
    }
    return false;
}

/* ---- lists (RFC 9110 5.6.1) ---- */

static struct slice trim(struct slice text)
{
    while (text.len && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

bool http_take_element(struct slice *text, char separator, struct slice *element)
{
    const char *found;
    size_t len;

    if (!text->data)
        return false;
    found = text->len ? memchr(text->data, separator, text->len) : NULL;
    len = found ? (size_t)(found - text->data) : text->len;
    *element = trim(slice_make(text->data, len));
    *text = found ? slice_make(found + 1, text->len - len - 1) : (struct slice){ NULL, 0 };
    return true;
}
