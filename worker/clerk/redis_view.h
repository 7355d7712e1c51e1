/*
 * What the clerk knows of Redis as a whole, for GET /metrics: asked every ten seconds on the
 * clerk's own connection, so that no scrape waits for Redis and no number of scrapes asks more.
 *
 * Keys under the prefix are counted by SCAN in small steps, one a second; a pass over a large
 * database takes minutes, and the number is that of the last whole pass. A right that the ACL user
 * lacks is asked for once: the numbers are then absent.
 */
#ifndef WORKER_CLERK_REDIS_VIEW_H
#define WORKER_CLERK_REDIS_VIEW_H

#include "worker/session/office.h"

enum { REDIS_CURSOR_MAX = 24 };

/* The members above the line are for readers. */
struct redis_view {
    uint64_t used_bytes, limit_bytes; /* limit 0: none */
    uint64_t memory_ms;               /* when Redis said so, CLOCK_MONOTONIC; 0: never */
    uint64_t database_keys;
    bool has_database_keys;
    uint64_t keys;
    uint64_t keys_ms; /* the end of the last whole pass; 0: none has ended */

    /* ---- */
    struct office *office;
    uint32_t beats;
    bool asks_memory, asks_size, asks_keys; /* a question is on its way */
    bool no_memory, no_size, no_keys;       /* refused: not asked again */
    bool is_scanning;
    char cursor[REDIS_CURSOR_MAX];
    uint64_t found; /* in the pass that is under way */
};

void redis_view_init(struct redis_view *view, struct office *office);
/* About once a second. */
void redis_view_beat(struct redis_view *view);

#endif
