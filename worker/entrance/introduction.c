#include "worker/entrance/introduction.h"

#include "worker/wire/forwarded.h"

#include <errno.h>
#include <sys/socket.h>

bool introduction_trusts(const struct config *config, const struct ip *ip)
{
    for (size_t i = 0; i < config->trusted_proxies.count; i++)
        if (ip_in_network(ip, config->trusted_proxies.items[i]))
            return true;
    return false;
}

/* ---- the headers ---- */

/* Walks the hops from the nearest on, and stays at the first that is not trusted. */
static void walk_hops(const struct config *config, const struct hops *hops,
                      struct introduction *introduction)
{
    uint32_t kept = hops->count < FORWARDED_HOPS_MAX ? hops->count : FORWARDED_HOPS_MAX;

    for (uint32_t i = 1; i <= kept; i++) {
        const struct hop *hop = &hops->hops[(hops->count - i) % FORWARDED_HOPS_MAX];
        if (hop->kind == HOP_BAD) {
            introduction->bad = true;
            return;
        }
        introduction->host = hop->host;
        introduction->proto = hop->proto;
        if (hop->kind == HOP_HIDDEN)
            return;
        introduction->client = hop->ip;
        if (!introduction_trusts(config, &hop->ip))
            return;
    }
}

static bool same_client(const struct ip *a, const struct ip *b)
{
    return a->kind == b->kind && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* A proxy that writes one of the two headers may pass the other one on as the client wrote it. When
 * they disagree neither is believed. */
static void compare(const struct introduction *by_old, const struct ip *peer,
                    struct introduction *introduction)
{
    if (!by_old->bad && !introduction->bad && same_client(&by_old->client, &introduction->client))
        return;
    *introduction = (struct introduction){ .client = *peer, .bad = true };
}

void introduction_read(const struct config *config, const struct ip *peer,
                       const struct http_parser *parser, const char *head,
                       struct introduction *introduction)
{
    struct introduction by_old = { .client = *peer };
    struct hops hops;

    *introduction = (struct introduction){ .client = *peer };
    if (!introduction_trusts(config, peer))
        return;
    forwarded_read_for(parser, head, &hops);
    walk_hops(config, &hops, &by_old);
    if (hops.count == 0) {
        forwarded_read(parser, head, &hops);
        walk_hops(config, &hops, introduction);
    } else {
        forwarded_read(parser, head, &hops);
        walk_hops(config, &hops, introduction);
        if (hops.count)
            compare(&by_old, peer, introduction);
        else
            *introduction = by_old;
    }
    if (introduction->bad)
        return;
    if (!introduction->host.data)
        introduction->host = forwarded_last(parser, head, SLICE("X-Forwarded-Host"));
    if (!introduction->proto.data)
        introduction->proto = forwarded_last(parser, head, SLICE("X-Forwarded-Proto"));
}

bool introduction_is_own(const struct introduction *introduction, struct slice origin,
                         struct slice host)
{
    struct slice proto = introduction->proto;
    bool secure =
        slice_equal_nocase(proto, SLICE("https")) || slice_equal_nocase(proto, SLICE("wss"));

    if (!http_origin_is_host(origin, introduction->host.data ? introduction->host : host))
        return false;
    return !proto.data || secure == slice_starts(origin, SLICE("https://"));
}

/* ---- the PROXY header ---- */

/* Looks at bytes before it takes them: what follows the header is for another reader of the
 * socket. */
enum proxy_progress introduction_take(int fd, struct buf *kept, struct proxy_header *header)
{
    size_t before = kept->len;
    enum proxy_progress progress;
    ssize_t n;

    *header = (struct proxy_header){ 0 };
    if (buf_reserve(kept, PROXY_HEADER_MAX - before))
        return PROXY_BAD;
    do
        n = recv(fd, kept->data + before, PROXY_HEADER_MAX - before, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return PROXY_MORE;
    if (n <= 0)
        return PROXY_BAD;
    progress = proxy_header_read((uint8_t *)kept->data, before + (size_t)n, header);
    if (progress == PROXY_BAD)
        return PROXY_BAD;
    if (progress == PROXY_WHOLE)
        n = (ssize_t)(header->len - before);
    if (recv(fd, kept->data + before, (size_t)n, 0) != n)
        return PROXY_BAD;
    kept->len = progress == PROXY_WHOLE ? 0 : before + (size_t)n;
    return progress;
}
