/*
 * Any bytes as the value of Forwarded and of X-Forwarded-For. Each hop must be an address that is
 * written in the value, or none; and a hop that a proxy appends on a line of its own must be read,
 * whatever stands before it.
 */
#include "worker/wire/forwarded.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VALUE_MAX = 2048 };

static void must(bool condition)
{
    if (!condition)
        abort();
}

static bool within(struct slice part, const char *head, size_t len)
{
    return !part.data || (part.data >= head && part.data + part.len <= head + len);
}

static void check(const struct hops *hops, const char *head, size_t len)
{
    const struct hop *last;
    char text[IP_TEXT_MAX];

    for (uint32_t i = 0; i < hops->count && i < FORWARDED_HOPS_MAX; i++) {
        const struct hop *hop = &hops->hops[i];
        must(hop->kind <= HOP_BAD);
        must(within(hop->host, head, len) && within(hop->proto, head, len));
        must(hop->kind != HOP_ADDRESS || hop->ip.kind != IP_NONE);
    }
    must(hops->count > 0);
    last = &hops->hops[(hops->count - 1) % FORWARDED_HOPS_MAX];
    must(last->kind == HOP_ADDRESS && strcmp(ip_text(&last->ip, text), "192.0.2.77") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hops hops;
    static char head[2 * VALUE_MAX + 256];
    struct http_parser parser;
    struct http_fault fault;
    size_t head_len, len;

    if (size > VALUE_MAX)
        return 0;
    for (size_t i = 0; i < size; i++)
        if ((data[i] < ' ' && data[i] != '\t') || data[i] == 0x7f)
            return 0; /* no header has it */
    len = (size_t)snprintf(head, sizeof head,
                           "GET / HTTP/1.1\r\nForwarded: %.*s\r\nX-Forwarded-For: %.*s\r\n"
                           "Forwarded: for=192.0.2.77\r\nX-Forwarded-For: 192.0.2.77\r\n\r\n",
                           (int)size, (const char *)data, (int)size, (const char *)data);
    http_parser_init(&parser, sizeof head);
    must(http_parse(&parser, head, len, &head_len, &fault) == HTTP_WHOLE);
    forwarded_read(&parser, head, &hops);
    check(&hops, head, len);
    forwarded_read_for(&parser, head, &hops);
    check(&hops, head, len);
    must(within(forwarded_last(&parser, head, SLICE("Forwarded")), head, len));
    return 0;
}
