/*
 * The queue: a buffer of commands that have not left, and a ring of callbacks that wait for
 * answers. A command enters both or neither.
 */
#include "worker/redis/redis_parts.h"

#include <assert.h>
#include <stdlib.h>

enum {
    WAITING_MAX = 1 << 20, /* commands without an answer, then ERR_FULL */
};

/* --- callbacks that wait for an answer --- */

struct waiting *redis_waiting_at(struct redis *redis, size_t i)
{
    return &redis->waiting[(redis->waiting_first + i) & (redis->waiting_size - 1)];
}

static enum err waiting_reserve(struct redis *redis)
{
    size_t size = redis->waiting_size ? redis->waiting_size * 2 : 64;
    struct waiting *ring;

    if (redis->waiting_count < redis->waiting_size)
        return OK;
    if (redis->waiting_count >= WAITING_MAX)
        return ERR_FULL;
    ring = malloc(size * sizeof *ring);
    if (!ring)
        return ERR_NOMEM;
    for (size_t i = 0; i < redis->waiting_count; i++)
        ring[i] = *redis_waiting_at(redis, i);
    if (redis->timed_at != NOT_TIMED)
        redis->timed_at = (redis->timed_at - redis->waiting_first) & (redis->waiting_size - 1);
    free(redis->waiting);
    redis->waiting = ring;
    redis->waiting_size = size;
    redis->waiting_first = 0;
    return OK;
}

static void waiting_put(struct redis *redis, redis_cb callback, void *arg)
{
    assert(redis->waiting_count < redis->waiting_size);
    if (redis->timed_at == NOT_TIMED) {
        redis->timed_at = (redis->waiting_first + redis->waiting_count) & (redis->waiting_size - 1);
        redis->timed_sent_ns = 0;
    }
    *redis_waiting_at(redis, redis->waiting_count) =
        (struct waiting){ .sent_ms = loop_now_ms(redis->loop), .callback = callback, .arg = arg };
    redis->waiting_count++;
}

struct waiting redis_waiting_take(struct redis *redis)
{
    assert(redis->waiting_count > 0);
    struct waiting taken = *redis_waiting_at(redis, 0);

    if (redis->timed_at == redis->waiting_first)
        redis->timed_at = NOT_TIMED;
    redis->waiting_first = (redis->waiting_first + 1) & (redis->waiting_size - 1);
    redis->waiting_count--;
    return taken;
}

/* --- commands --- */

enum { COUNT_MAX = 1 + 20 + 2 }; /* a sign, digits, CR LF */

/* Both functions write at `at`, where the caller has made room, and return the end of the bytes. */
static char *put_count(char *at, char sign, size_t count)
{
    char digits[20], *first = digits + sizeof digits;

    do
        *--first = (char)('0' + count % 10);
    while (count /= 10);
    *at++ = sign;
    while (first < digits + sizeof digits)
        *at++ = *first++;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static char *put_argument(char *at, struct slice argument)
{
    at = put_count(at, '$', argument.len);
    if (argument.len)
        memcpy(at, argument.data, argument.len);
    at += argument.len;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

/* Appends the command in RESP: an array of bulk strings, so an argument may hold any byte. On an
 * error the buffer is as before. */
static enum err add_request(struct buf *out, const struct slice *args, size_t arg_count)
{
    size_t room = COUNT_MAX;
    enum err err;
    char *at;

    for (size_t i = 0; i < arg_count; i++) {
        if (args[i].len > OUTPUT_BYTES_MAX)
            return ERR_FULL;
        room += COUNT_MAX + args[i].len + 2;
    }
    err = buf_reserve(out, room);
    if (err) {
        out->failed = false;
        return err;
    }
    at = put_count(out->data + out->len, '*', arg_count);
    for (size_t i = 0; i < arg_count; i++)
        at = put_argument(at, args[i]);
    assert((size_t)(at - out->data) <= out->len + room);
    out->len = (size_t)(at - out->data);
    return OK;
}

enum err redis_queue(struct redis *redis, const struct slice *args, size_t arg_count,
                     redis_cb callback, void *arg)
{
    enum err err = waiting_reserve(redis);

    if (!err)
        err = add_request(&redis->output, args, arg_count);
    if (!err)
        waiting_put(redis, callback, arg);
    return err;
}

enum err redis_queue_ping(struct redis *redis, redis_cb callback)
{
    return redis_queue(redis, &SLICE("PING"), 1, callback, redis);
}
