/*
 * Commands on their way to Redis, and who waits for their answers: a buffer and a ring.
 *
 * A command is in both or in neither.
 */
#include "worker/redis_parts.h"

#include <assert.h>
#include <stdlib.h>

enum {
    WAITING_MAX = 1 << 20, /* commands without an answer; past it ERR_FULL */
};

/* --- who waits for an answer --- */

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
    free(redis->waiting);
    redis->waiting = ring;
    redis->waiting_size = size;
    redis->waiting_first = 0;
    return OK;
}

static void waiting_put(struct redis *redis, redis_cb callback, void *arg)
{
    assert(redis->waiting_count < redis->waiting_size);
    *redis_waiting_at(redis, redis->waiting_count) =
        (struct waiting){ .sent_ms = loop_now_ms(redis->loop), .callback = callback, .arg = arg };
    redis->waiting_count++;
}

struct waiting redis_waiting_take(struct redis *redis)
{
    assert(redis->waiting_count > 0);
    struct waiting taken = *redis_waiting_at(redis, 0);

    redis->waiting_first = (redis->waiting_first + 1) & (redis->waiting_size - 1);
    redis->waiting_count--;
    return taken;
}

/* --- commands --- */

static void add_count(struct buf *out, char sign, size_t count)
{
    buf_add_char(out, sign);
    buf_add_int(out, (int64_t)count);
    buf_add(out, "\r\n", 2);
}

/* The request as RESP: an array of bulk strings, so every argument may hold any byte. */
static enum err add_request(struct buf *out, const struct slice *args, size_t arg_count)
{
    size_t len_before = out->len;
    size_t room = 32;

    for (size_t i = 0; i < arg_count; i++) {
        if (args[i].len > OUTPUT_BYTES_MAX)
            return ERR_FULL;
        room += args[i].len + 32;
    }
    enum err err = buf_reserve(out, room);
    if (err) {
        out->failed = false;
        return err;
    }
    add_count(out, '*', arg_count);
    for (size_t i = 0; i < arg_count; i++) {
        add_count(out, '$', args[i].len);
        buf_add_slice(out, args[i]);
        buf_add(out, "\r\n", 2);
    }
    assert(out->len - len_before <= room);
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
