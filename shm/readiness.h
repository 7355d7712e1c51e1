/*
 * Can clients be served, and their mail be stored? Judged from the slots alone, so the answer needs
 * neither Redis nor a worker. `GET /health/ready` and `status --check` say the same.
 */
#ifndef SHM_READINESS_H
#define SHM_READINESS_H

#include "common/buf.h"
#include "shm/region.h"

#include <stdbool.h>

struct readiness {
    uint32_t serving; /* workers in WORKER_SERVING */
    bool no_worker;   /* none serves, and none leaves */
    bool draining;    /* the server stops */
    bool redis_away;  /* from a worker that serves */
    bool view_stale;  /* a worker has shown no sign of life for READINESS_STALE_MS */
};

enum { READINESS_STALE_MS = 5000, READINESS_REASONS_MAX = 4 };

/* now_ms: CLOCK_MONOTONIC. draining: the caller knows already that the server stops. */
void readiness_look(const struct region *region, uint64_t now_ms, bool draining,
                    struct readiness *readiness);
/* Fills reasons with the names (static) of what stands against serving; returns how many. 0: the
 * server is ready. */
size_t readiness_reasons(const struct readiness *readiness,
                         const char *reasons[READINESS_REASONS_MAX]);
/* Appends one line of JSON: {"status":"ready","workers":N,"reasons":[]}. Returns whether the server
 * is ready. */
bool readiness_json(const struct readiness *readiness, struct buf *out);

#endif
