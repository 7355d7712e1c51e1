/*
 * The embedded Redis, as `status` shows it. The master writes; whoever maps the region reads.
 * Nothing of this is secret.
 */
#ifndef SHM_STORAGE_H
#define SHM_STORAGE_H

#include "shm/region.h"

#include <stdbool.h>
#include <stdint.h>

enum { STORAGE_PATH_SIZE = 1024, STORAGE_VERSION_SIZE = 32 };

struct storage_view {
    char folder[STORAGE_PATH_SIZE];     /* "" : no storage is embedded; a longer path is cut */
    char program[STORAGE_PATH_SIZE];    /* likewise */
    char version[STORAGE_VERSION_SIZE]; /* as the program says; "" : not yet */
    uint64_t started_ms;                /* of this process; CLOCK_MONOTONIC */
    uint64_t restarts;
    int64_t memory_max;
    int32_t pid; /* 0: no process */
    bool ready;  /* the process has loaded its data, and serves */
};

/* Master only. */
void storage_publish(struct region *region, const struct storage_view *view);
/* False when no storage is embedded. */
bool storage_read(const struct region *region, struct storage_view *view);

#endif
