/*
 * One connection to Redis, kept alive: the only user of hiredis (0.14.1: RESP2, no TLS).
 *
 * Commands of one turn leave in one write. It reconnects by itself (500 ms, growing by half with 10
 * % jitter to 10 s), logs in, selects the database, and gives up on a connection whose oldest
 * unanswered command is older than the time-out while nothing came for that long. Nothing is queued
 * while it is down.
 */
#ifndef WORKER_REDIS_H
#define WORKER_REDIS_H

#include "common/err.h"
#include "common/slice.h"
#include "config/config.h"
#include "worker/io/loop.h"

#include <stdint.h>

struct redis;

/* An answer, borrowed for the call. */
enum redis_reply_type {
    REDIS_LOST,
    REDIS_ERROR,
    REDIS_NIL,
    REDIS_STATUS,
    REDIS_INTEGER,
    REDIS_STRING,
    REDIS_ARRAY
};
struct redis_reply {
    enum redis_reply_type type; /* LOST: the connection went before the answer came */
    int64_t integer;
    struct slice text; /* ERROR, STATUS, STRING */
    const void *array; /* ARRAY: for redis_reply_at */
    size_t count;
};
/* The i-th element of an ARRAY. */
struct redis_reply redis_reply_at(const struct redis_reply *reply, size_t i);

struct redis_events {
    void (*up)(void *arg);   /* logged in and usable; also after each reconnect */
    void (*down)(void *arg); /* every unanswered command has been told LOST by now */
    void *arg;
};

/* Does not block; up comes later. The options are copied. NULL when out of memory. */
struct redis *redis_new(struct loop *loop, const struct config *config, const char *name_for_logs,
                        const struct redis_events *events);
/* Unanswered commands are told LOST; down is not called. NULL is allowed. */
void redis_free(struct redis *redis);
bool redis_is_up(const struct redis *redis);
/* Has at least one attempt to connect been decided (up or failed)? */
bool redis_tried(const struct redis *redis);

typedef void (*redis_cb)(void *arg, const struct redis_reply *reply);
/* Every argument is a binary-safe slice; never a format. callback (NULL: not interested) is called
 * exactly once when OK is returned, never from inside this call nor from redis_flush. It may call
 * anything here, redis_free included. ERR_DOWN: not connected, nothing was queued. ERR_FULL: too
 * much waits for an answer already. */
enum err redis_command(struct redis *redis, const struct slice *args, size_t arg_count,
                       redis_cb callback, void *arg);

/* Turns the connection into a subscriber of `channel`, again after each reconnect; up comes when
 * the subscription is confirmed. message is called for each message. The channel is copied. Call
 * before the first turn. */
void redis_subscribe(struct redis *redis, struct slice channel,
                     void (*message)(void *arg, struct slice payload), void *arg);

/* End of a turn: writes what is queued. The owner adds it as a loop hook. */
void redis_flush(struct redis *redis);
/* Bytes of commands that have not left. */
size_t redis_backlog(const struct redis *redis);
/* How often it lost a connection, and commands that timed out, since the last call. */
void redis_take_counts(struct redis *redis, uint64_t *reconnects, uint64_t *timeouts);

#endif
