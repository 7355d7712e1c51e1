/*
 * Whom a connection speaks for, when a proxy stands between: by a PROXY header before the first
 * byte, or by headers of the request.
 *
 * Only trustedProxies are believed. Of the hops that a request names, the walk begins at the
 * nearest proxy and ends at the first that is not trusted: that hop is the client, and what stands
 * before it anybody could have written.
 */
#ifndef WORKER_INTRODUCTION_H
#define WORKER_INTRODUCTION_H

#include "common/ip.h"
#include "worker/session/office.h"
#include "worker/wire/http.h"
#include "worker/wire/proxy_header.h"

struct introduction {
    struct ip client;
    struct slice host, proto; /* the request's own at the first proxy, in the head; data NULL: not
                                 said */
    bool bad; /* a header is malformed, or two disagree: the client is the last hop known */
};

bool introduction_trusts(const struct config *config, const struct ip *ip);
/* Reads the headers of a request that came from `peer`. */
void introduction_read(const struct config *config, const struct ip *peer,
                       const struct http_parser *parser, const char *head,
                       struct introduction *introduction);
/* Does Origin name the host that the request was for, and its scheme when a proxy has told it
 * (http, https, ws or wss)? */
bool introduction_is_own(const struct introduction *introduction, struct slice origin,
                         struct slice host);

/* Takes the PROXY header out of the socket, not a byte more; `kept` holds what came before, and is
 * emptied when the header is whole. PROXY_BAD without header->fault: the peer is gone, or memory is
 * short. */
enum proxy_progress introduction_take(int fd, struct buf *kept, struct proxy_header *header);

#endif
