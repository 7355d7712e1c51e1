/*
 * One connection to Redis, kept alive: the only user of hiredis (0.14.1: RESP2), over TLS for
 * rediss:// (worker/wire/tls_client.h).
 *
 * All commands of a turn leave in one write. A lost connection is opened again without being asked:
 * after redis.reconnectMinMs, then after pauses that grow by half, with 10 % jitter, up to
 * redis.reconnectMaxMs. A connection ends when its oldest command has had no answer, and the socket
 * no byte, for redis.commandTimeoutMs. No command is queued while the connection is down.
 */
#ifndef WORKER_REDIS_H
#define WORKER_REDIS_H

#include "common/err.h"
#include "common/slice.h"
#include "config/config.h"
#include "worker/io/loop.h"

#include <stdint.h>

struct redis;

/* An answer; all of it is borrowed for the callback. */
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
    enum redis_reply_type type; /* LOST: the connection ended before the answer came */
    int64_t integer;
    struct slice text; /* ERROR, STATUS, STRING */
    const void *array; /* ARRAY: for redis_reply_at */
    size_t count;
};
/* The i-th element of an ARRAY, from 0 on; NIL when there is none, and for any other type. */
struct redis_reply redis_reply_at(const struct redis_reply *reply, size_t i);

struct redis_events {
    void (*up)(void *arg);   /* logged in and usable; also after each reconnect */
    void (*down)(void *arg); /* the callbacks of all unanswered commands have had LOST by now */
    void *arg;
};

/* Returns at once; up is called when the connection can be used. The configuration must name a
 * Redis; its options are copied, the loop is borrowed. A host name (not a number) is looked up in
 * the turn of the attempt, and that may block. NULL when out of memory. */
struct redis *redis_new(struct loop *loop, const struct config *config, const char *name_for_logs,
                        const struct redis_events *events);
/* The callbacks of unanswered commands have LOST; down is not called. NULL is allowed. */
void redis_free(struct redis *redis);
bool redis_is_up(const struct redis *redis);
/* Has at least one attempt to connect ended, with a connection or without? */
bool redis_tried(const struct redis *redis);

typedef void (*redis_cb)(void *arg, const struct redis_reply *reply);
/* Queues one command; each argument may hold any byte and is copied. When OK is returned, callback
 * (NULL: the answer is dropped) is called exactly once, and never from inside this call or
 * redis_flush. The callback may call anything here, redis_free included. Any error: nothing was
 * queued, and callback is not called. ERR_DOWN: not connected. ERR_FULL: 1,048,576 commands have no
 * answer, or more than 128 MiB would wait to leave. ERR_NOMEM. */
enum err redis_command(struct redis *redis, const struct slice *args, size_t arg_count,
                       redis_cb callback, void *arg);

/* Makes the connection a subscriber of `channel`, again after each reconnect; up is called when
 * Redis has confirmed the subscription. message is called for each message; payload is borrowed for
 * the call. The channel is copied. Call once, before the first turn of the loop. ERR_NOMEM. */
enum err redis_subscribe(struct redis *redis, struct slice channel,
                         void (*message)(void *arg, struct slice payload), void *arg);

/* Lets only a master be used: the login writes to `key`, which nobody else uses, and a replica's
 * refusal (READONLY) ends the attempt. The key is copied. Call once, before the first turn.
 * ERR_NOMEM. */
enum err redis_need_master(struct redis *redis, struct slice key);
/* demoted is called by redis_demoted. Call before the first turn. */
void redis_on_demoted(struct redis *redis, void (*demoted)(void *arg, bool elsewhere), void *arg);
/* timed is called for each round trip that is measured: from the write that sent a command, to the
 * turn that reads its answer. One command at a time is timed: when none is, the next one that is
 * queued. Call before the first turn. */
void redis_on_timed(struct redis *redis, void (*timed)(void *arg, uint64_t ns), void *arg);
/* A command was refused because Redis is a replica; or (elsewhere) another connection reaches
 * another Redis. Tells the owner, while the connection is up. */
void redis_demoted(struct redis *redis, bool elsewhere);
/* Ends a connection that is up, as soon as its commands are answered, and connects anew: the host
 * name is looked up again. redis_is_up is false from now on; `down` follows in a later turn. */
void redis_renew(struct redis *redis, const char *why);
/* Ends the connection, or does not begin it, until redis_release. */
void redis_hold(struct redis *redis);
void redis_release(struct redis *redis);

/* Writes all queued commands. The owner calls this function at the end of each turn. */
void redis_flush(struct redis *redis);
/* Bytes of commands that the socket has not taken yet. */
size_t redis_backlog(const struct redis *redis);
/* Since the last call: connections that were lost while up, and commands that timed out. */
void redis_take_counts(struct redis *redis, uint64_t *reconnects, uint64_t *timeouts);

#endif
