/*
 * The target of a request, taken apart, and the rules for hosts and paths (RFC 9112 3.2, RFC 3986).
 */
#include "worker/wire/http_parts.h"

/* A host name: unreserved characters, percent sequences, sub-delims (RFC 3986 3.2.2). */
static bool is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (!c || !strchr("-._~!$&'()*+;=%", c)))
            return false;
        if (c == '%' && http_percent_byte(name, i) < 0)
            return false;
    }
    return name.len > 0;
}

/* Returns the length of "[IPv6]" at the start of host, 0 when there is none. */
static size_t literal_len(struct slice host)
{
    size_t len = 1;

    if (!host.len || host.data[0] != '[')
        return 0;
    while (len < host.len && host.data[len] && strchr("0123456789abcdefABCDEF:.", host.data[len]))
        len++;
    return len > 2 && len < host.len && host.data[len] == ']' ? len + 1 : 0;
}

/* ":" and a number, as far as a port can reach; nothing; or ":" alone (RFC 3986 3.2.3). */
static bool is_port(struct slice port)
{
    unsigned number = 0;

    if (port.len && port.data[0] != ':')
        return false;
    for (size_t i = 1; i < port.len; i++) {
        if (port.data[i] < '0' || port.data[i] > '9')
            return false;
        number = number * 10 + (unsigned)(port.data[i] - '0');
        if (number > 65535)
            return false;
    }
    return true;
}

/* The comma of sub-delims is left out, because a list of two hosts is what two Host headers become
 * on their way. */
bool http_is_host(struct slice host)
{
    size_t len = literal_len(host);

    if (len == 0) {
        const char *colon = host.len ? memchr(host.data, ':', host.len) : NULL;
        len = colon ? (size_t)(colon - host.data) : host.len;
        if (!is_name(slice_make(host.data, len)))
            return false;
    }
    return is_port(slice_make(host.data + len, host.len - len));
}

/* Removes "http://" or "https://" and the authority from text. False when there is none. */
static bool take_authority(struct slice *text, struct slice *authority)
{
    static const struct slice schemes[] = { { "http://", 7 }, { "https://", 8 } };
    size_t len = 0;

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (text->len >= schemes[i].len &&
            slice_equal_nocase(slice_make(text->data, schemes[i].len), schemes[i]))
            len = schemes[i].len;
    if (len == 0)
        return false;
    *text = slice_make(text->data + len, text->len - len);
    for (len = 0; len < text->len && text->data[len] != '/' && text->data[len] != '?';)
        len++;
    *authority = slice_make(text->data, len);
    *text = slice_make(text->data + len, text->len - len);
    return http_is_host(*authority);
}

/* Is every percent sequence of a path whole, and none a NUL? A path is compared undecoded. */
static bool is_path(struct slice path)
{
    for (size_t i = 0; i < path.len; i++)
        if (path.data[i] == '%' && http_percent_byte(path, i) < 0)
            return false;
    return true;
}

bool http_target_read(struct slice text, struct http_target *target)
{
    const char *mark;

    *target = (struct http_target){ 0 };
    if (text.data[0] != '/' && !take_authority(&text, &target->authority))
        return false;
    mark = text.len ? memchr(text.data, '?', text.len) : NULL;
    if (mark) {
        target->query = slice_make(mark + 1, (size_t)(text.data + text.len - mark - 1));
        text.len = (size_t)(mark - text.data);
    }
    target->path = text.len ? text : SLICE("/");
    return is_path(target->path);
}
