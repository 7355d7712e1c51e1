/*
 * The headers by which HTTP proxies name the client: Forwarded (RFC 7239), and X-Forwarded-For,
 * -Host and -Proto before it.
 *
 * Pure, and without trust: each proxy appends a hop, and anybody can write hops in front, so the
 * caller walks them from the right and believes them only as long as it trusts their writers.
 */
#ifndef WORKER_FORWARDED_H
#define WORKER_FORWARDED_H

#include "common/ip.h"
#include "worker/wire/http.h"

enum { FORWARDED_HOPS_MAX = 32 };

enum hop_kind {
    HOP_HIDDEN,  /* "unknown", an obfuscated name, or no name at all */
    HOP_ADDRESS, /* ip is valid */
    HOP_BAD,     /* malformed */
};

struct hop {
    enum hop_kind kind;
    struct ip ip;
    struct slice host, proto; /* of Forwarded; data NULL when absent */
};

/* Hops in the order of the header lines; hop count - 1 was written by the nearest proxy. Hop i is
 * `hops[i % FORWARDED_HOPS_MAX]`: only the last ones are kept. */
struct hops {
    uint32_t count; /* of all */
    struct hop hops[FORWARDED_HOPS_MAX];
};

/* Reads all lines of Forwarded. A line that breaks RFC 7239 has a HOP_BAD where it does. */
void forwarded_read(const struct http_parser *parser, const char *head, struct hops *hops);
/* Reads all lines of X-Forwarded-For: addresses, each with a port or not, IPv6 in brackets or
 * not. */
void forwarded_read_for(const struct http_parser *parser, const char *head, struct hops *hops);
/* The last element of all lines of a header such as X-Forwarded-Host: what the nearest proxy said.
 * data NULL when there is none. */
struct slice forwarded_last(const struct http_parser *parser, const char *head, struct slice name);

#endif
