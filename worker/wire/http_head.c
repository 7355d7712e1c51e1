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
