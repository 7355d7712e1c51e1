/* What the files that judge an upgrade request share: faults, the target, the query. */
#ifndef WORKER_HTTP_PARTS_H
#define WORKER_HTTP_PARTS_H

#include "worker/wire/http.h"

/* ---- faults; each returns ERR_BAD ---- */

static inline enum err http_refuse(struct http_fault *fault, int status, const char *code,
                                   const char *message)
{
    *fault = (struct http_fault){ status, code, message };
    return ERR_BAD;
}

static inline enum err http_bad_request(struct http_fault *fault, const char *message)
{
    return http_refuse(fault, 400, "bad-request", message);
}

static inline enum err http_no_memory(struct http_fault *fault)
{
    return http_refuse(fault, 503, "overloaded", "out of memory");
}

/* ---- http_target.c ---- */

/* The request target, taken apart. */
struct http_target {
    struct slice authority; /* of the absolute form; data NULL: origin form */
    struct slice path;      /* an empty path is "/" (RFC 9110 4.2.3) */
    struct slice query;     /* data NULL: none */
};
/* False: neither a good path nor an absolute http URI. text is not empty. */
bool http_target_read(struct slice text, struct http_target *target);
/* Is host a name or an address, perhaps with a port (RFC 9110 7.2)? */
bool http_is_host(struct slice host);

/* ---- http_query.c ---- */

/* Returns the byte that the percent sequence at i stands for (RFC 3986 2.1); -1 for a broken
 * sequence and for %00. */
int http_percent_byte(struct slice text, size_t i);
/* Takes all parameters; what is decoded lies in the arena. ERR_BAD with *fault. */
enum err http_take_query(struct arena *arena, struct slice query, struct http_upgrade *upgrade,
                         struct http_fault *fault);

#endif
