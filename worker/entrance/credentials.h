/*
 * Whom a request shows: the token, from the first of its places, and the page's origin
 * (docs/protocol.md, sections 1.2 and 6).
 */
#ifndef WORKER_CREDENTIALS_H
#define WORKER_CREDENTIALS_H

#include "worker/wire/http.h"

struct grant;
struct introduction;
struct visitor;

/* Checks origin and token. Returns a grant with one reference; NULL: the visitor has been refused,
 * or memory is short. */
struct grant *credentials_check(struct visitor *visitor, const struct http_upgrade *upgrade,
                                const struct introduction *introduction);

#endif
