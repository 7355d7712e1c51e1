/*
 * Two headers that a browser adds by itself: cookies (RFC 6265), and the origin of the page (RFC
 * 6454), which is compared with the host and with the items of auth.origins.
 */
#include "worker/wire/http_head.h"

struct slice http_cookie(struct slice header, struct slice name)
{
    struct slice pair;

    while (http_take_element(&header, ';', &pair)) /* RFC 6265 4.2.1 */
        if (pair.len > name.len && pair.data[name.len] == '=' && slice_starts(pair, name))
            return slice_make(pair.data + name.len + 1, pair.len - name.len - 1);
    return (struct slice){ NULL, 0 };
}

/* Cuts ":port" off an authority when the port is `port` or empty. Never cuts within an IPv6
 * address, which ends in a bracket. */
static struct slice without_port(struct slice authority, struct slice port)
{
    size_t len = authority.len;

    if (len && authority.data[len - 1] == ':')
        return slice_make(authority.data, len - 1);
    if (len > port.len && slice_equal(slice_make(authority.data + len - port.len, port.len), port))
        return slice_make(authority.data, len - port.len);
    return authority;
}

/* An Origin (RFC 6454 6.2), or an item of auth.origins. */
struct origin {
    struct slice scheme, authority; /* the authority without the scheme's default port */
};

/* False for "null" and for text without "://". */
static bool origin_read(struct slice text, struct origin *origin)
{
    size_t len = 0;

    while (len + 3 <= text.len && memcmp(text.data + len, "://", 3) != 0)
        len++;
    if (len == 0 || len + 3 > text.len)
        return false;
    origin->scheme = slice_make(text.data, len);
    origin->authority = slice_make(text.data + len + 3, text.len - len - 3);
    if (slice_equal(origin->scheme, SLICE("http")))
        origin->authority = without_port(origin->authority, SLICE(":80"));
    else if (slice_equal(origin->scheme, SLICE("https")))
        origin->authority = without_port(origin->authority, SLICE(":443"));
    return origin->authority.len > 0;
}

bool http_origin_is_host(struct slice origin, struct slice host)
{
    bool secure = slice_starts(origin, SLICE("https://"));
    struct origin named;

    /* Other schemes than these name no host. */
    if (!origin.data || !host.data || (!secure && !slice_starts(origin, SLICE("http://"))) ||
        !origin_read(origin, &named))
        return false;
    return slice_equal_nocase(named.authority,
                              without_port(host, secure ? SLICE(":443") : SLICE(":80")));
}

/* Is authority one or more labels and then suffix, as "a.b.example.com" is with ".example.com"? */
static bool is_below(struct slice authority, struct slice suffix)
{
    size_t labels_len = authority.len - suffix.len;

    if (authority.len <= suffix.len ||
        !slice_equal(slice_make(authority.data + labels_len, suffix.len), suffix))
        return false;
    for (size_t i = 0; i < labels_len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-_", authority.data[i]) ||
            !authority.data[i])
            return false;
    return true;
}

bool http_origin_matches(struct slice item, struct slice origin)
{
    struct origin allowed, named;

    if (!origin_read(item, &allowed) || !origin_read(origin, &named) ||
        !slice_equal(allowed.scheme, named.scheme))
        return false;
    if (slice_starts(allowed.authority, SLICE("*.")))
        return is_below(named.authority,
                        slice_make(allowed.authority.data + 1, allowed.authority.len - 1));
    return slice_equal(allowed.authority, named.authority);
}
