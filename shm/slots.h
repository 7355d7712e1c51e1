/*
 * One row for each worker slot: which worker lives there, and its state.
 *
 * Writers: `incarnation` and `pid` the master only; `state`, `heartbeat` and the counts the worker
 * only. incarnation 0 means dead: everything the slot's slabs hold reads as absent at once.
 */
#ifndef SHM_SLOTS_H
#define SHM_SLOTS_H

#include "shm/region.h"

#include <stdbool.h>

enum worker_state {
    WORKER_ABSENT,
    WORKER_STARTING, /* forked, not yet accepting */
    WORKER_SERVING,
    WORKER_DRAINING,
};

enum worker_redis {
    WORKER_REDIS_NONE, /* none is configured */
    WORKER_REDIS_AWAY,
    WORKER_REDIS_UP,
};

struct worker_view { /* a copy of a row, for readers */
    int32_t pid;
    uint64_t incarnation;
    enum worker_state state;
    uint64_t started_ms, heartbeat_ms; /* CLOCK_MONOTONIC */
    uint32_t sessions;                 /* open WebSocket sessions */
    uint32_t pending;                  /* connections before their upgrade */
    enum worker_redis redis;
    bool is_clerk; /* serves operators and backends, no clients */
};

struct server_view {
    int32_t master_pid;
    uint64_t started_ms;        /* CLOCK_MONOTONIC */
    uint64_t config_generation; /* 1 at start, +1 with each applied reload */
    uint64_t restarts;          /* workers that died without having been told to leave */
    uint32_t sessions_max;
    char node[256];
};

/* Master only. */
void slots_master_set(struct region *region, int32_t pid, const char *node);
void slots_config_applied(struct region *region);
void slots_count_restart(struct region *region);
/* Before the fork: gives the slot a new incarnation (never 0, never used before on any slot) and
 * returns the incarnation. Incarnations of one server have the same upper half; another run's
 * hardly ever have that half. */
uint64_t slot_begin(struct region *region, uint32_t slot);
/* The same for a process that serves operators and backends, and no clients. */
uint64_t slot_begin_clerk(struct region *region, uint32_t slot);
void slot_set_pid(struct region *region, uint32_t slot, int32_t pid);
/* After waitpid: makes the slot's sessions absent at once (O(1)); then purges the slot's part of
 * sessions, origins, rings and stats (its counters are added to the retired row). */
void slot_end(struct region *region, uint32_t slot);

/* The slot's own worker only. */
void slot_set_state(struct region *region, uint32_t slot, enum worker_state state);
void slot_beat(struct region *region, uint32_t slot, uint64_t now_ms);
void slot_set_pending(struct region *region, uint32_t slot, uint32_t pending);
void slot_set_redis(struct region *region, uint32_t slot, enum worker_redis redis);
/* Takes one of the sessions_max seats of all workers together. ERR_FULL when all are taken. Never
 * admits one too many, and refuses only when all seats really are taken. */
enum err slot_seat_take(struct region *region, uint32_t slot);
void slot_seat_leave(struct region *region, uint32_t slot);

/* Anyone. */
/* Slots at and above this number have never lived. */
uint32_t slots_used(const struct region *region);
void slot_view(const struct region *region, uint32_t slot, struct worker_view *view);
void slots_server(const struct region *region, struct server_view *view);
uint32_t slots_sessions(const struct region *region); /* all live workers together */
/* Returns the fewest connections (sessions + pending) that any worker in WORKER_SERVING has, the
 * clerk apart; UINT32_MAX when no worker serves. A worker without a heartbeat for SLOT_FRESH_MS is
 * left out: a worker that is stopped or stuck takes no connection, and others would wait for it in
 * vain. */
enum { SLOT_FRESH_MS = 1000 };
uint32_t slots_least_loaded(const struct region *region, uint64_t now_ms);
/* Can the worker in this slot be reached through Redis? One load. */
enum worker_redis slot_redis(const struct region *region, uint32_t slot);
/* The incarnation of the slot's worker; 0 when dead. One load. */
uint64_t slot_incarnation(const struct region *region, uint32_t slot);

#endif
