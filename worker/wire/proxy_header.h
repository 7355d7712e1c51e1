/*
 * The PROXY header, version 1 (a line of text) and 2 (binary), with which a proxy begins a
 * connection and says for whom it speaks (HAProxy's proxy-protocol.txt).
 *
 * Pure: bytes in, an address out. The bytes behind the header are the client's own, of any
 * protocol, so the header can come before a request head or before a TLS hello.
 */
#ifndef WORKER_PROXY_HEADER_H
#define WORKER_PROXY_HEADER_H

#include "common/ip.h"

#include <stddef.h>
#include <stdint.h>

enum {
    PROXY_V1_MAX = 107, /* bytes, CR LF included (section 2.1) */
    PROXY_HEADER_MAX =
        4096 /* bytes of version 2; a longer one is bad. Real ones have some hundred */
};

enum proxy_progress {
    PROXY_MORE,  /* a good beginning: call again with more bytes */
    PROXY_WHOLE, /* the header is the first `len` bytes */
    PROXY_BAD,
};

struct proxy_header {
    size_t len;
    struct ip client;  /* IP_NONE: the header names none (LOCAL, UNKNOWN, UNSPEC, a datagram): the
                          connection's own peer counts. IP_UNIX: a client on a unix socket */
    const char *fault; /* PROXY_BAD: static text */
};

/* Reads the header at the beginning of data. With PROXY_MORE all len bytes belong to the header, so
 * a caller may take them out of the socket. */
enum proxy_progress proxy_header_read(const uint8_t *data, size_t len, struct proxy_header *header);

#endif
