/*
 * The PROXY header with which a proxy announces a connection (proxyProtocol, docs/operations.md).
 * Behind the header the visitor is the client that the header names. A connection without a good
 * header gets no answer, because its protocol is not known.
 */
#ifndef WORKER_ANNOUNCEMENT_H
#define WORKER_ANNOUNCEMENT_H

#include <stdbool.h>

struct ip;
struct visitor;
struct visitors;

/* The peer must be a proxy; counts and logs one that is none. */
bool announcement_allowed(struct visitors *visitors, const struct ip *peer);
/* Reads the header, or a part of it. */
void announcement_take(struct visitor *visitor);
/* Counts and logs a header that is bad or late. */
void announcement_log(struct visitor *visitor, const char *reason);

#endif
