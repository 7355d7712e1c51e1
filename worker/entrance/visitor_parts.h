/*
 * The record of a visitor, and the files that share it; only these include this.
 *
 * From the bottom up; a file calls only files that stand higher in this list:
 *   visitor_stay.c  where a visitor stands: the lists, the count of its address, the way out
 *   refusal.c       the answer of a visitor that does not become a session, and the wait behind it
 *   announcement.c  the PROXY header
 *   greeting.c      the handshake of TLS
 *   credentials.c   whom the token and the origin of a request show
 *   admission.c     the whole request: judges it, and makes the visitor a session
 *   visitor.c       the face: what arrives, and when
 */
#ifndef WORKER_VISITOR_PARTS_H
#define WORKER_VISITOR_PARTS_H

#include "common/ip.h"
#include "worker/entrance/visitor.h"

struct visitor {
    struct visitor *next, **at;    /* of visitors->all; in visitors->dead next alone counts */
    struct visitor *older, *newer; /* while waiting: the neighbours by age */
    struct loop_watch watch;
    struct wheel_node timer;
    struct visitors *visitors;
    struct buf head;
    struct tls *tls;              /* NULL: plain */
    struct turnstile_place place; /* while the visitor waits for its next step */
    uint64_t origin_key;
    uint64_t came_ns; /* when the connection was accepted: the turn's clock */
    size_t kept_len;  /* of a whole head that is kept until the worker serves; 0: none */
    const struct http_upgrade *asked; /* a good request that wants to be refused by a close frame */
    struct ip peer; /* who connected; behind a PROXY header, whom the header names */
    int fd;
    uint32_t dropped; /* answered: bytes that have come since */
    bool waiting;     /* for the rest of the head */
    bool announced;   /* proxyProtocol: no PROXY header is awaited any more */
    bool late;        /* came while the office drained */
    bool answered;    /* refused: bytes are dropped until the peer's end of file */
    bool uncounted;   /* past limits.connectionsPerIP */
    bool secure;      /* the handshake of TLS is over */
    bool overdue;     /* the next step is the end */
    struct http_parser parser;
};

#endif
