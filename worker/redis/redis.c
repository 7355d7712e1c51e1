/*
 * The life of one connection to Redis: connect, read, write, check, drop, try again.
 *
 * Answers come in the order of the commands, so one ring of callbacks is all the bookkeeping, and
 * the silence since the oldest entry of the ring is the health of the connection. An idle
 * connection sends PING, so a half-dead connection is found too, also a subscriber's.
 *
 * Of hiredis only the reply reader is used. The asynchronous half of hiredis (0.14.1) asserts on
 * the bytes of a server, keeps a record of each command sent while subscribed until the connection
 * ends, calls the callback of the previous message when PONG comes, and frees its context under its
 * caller; exec inherits the sockets that hiredis opens.
 *
 * Callbacks run only from the turns of the socket and of the timer, never inside redis_command or
 * redis_flush. No line of the log holds a command, nor the text of an error that may quote a
 * password.
 */
#include "worker/redis/redis_parts.h"

#include "common/clock.h"
#include "common/log.h"
#include "worker/io/dial.h"
#include "worker/redis/redis_error.h"
#include "worker/redis/redis_tls.h"
#include "worker/wire/stream.h"
#include "worker/wire/tls_client.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    INPUT_BYTES = 64 << 10,   /* read at once */
    KEEP_BYTES_MAX = 1 << 20, /* an output buffer that grew larger is given back when empty */
    ARGS_MAX = 1 << 16,
};

static void connect_now(struct redis *redis);

/* Each entry leaves the ring before its callback runs, so no callback is called twice. */
static void answer_all_lost(struct redis *redis)
{
    static const struct redis_reply lost = { .type = REDIS_LOST };

    while (redis->waiting_count > 0) {
        struct waiting waiting = redis_waiting_take(redis);
        if (waiting.callback)
            waiting.callback(waiting.arg, &lost);
    }
}

enum err redis_command(struct redis *redis, const struct slice *args, size_t arg_count,
                       redis_cb callback, void *arg)
{
    assert(arg_count > 0 && arg_count <= ARGS_MAX);
    if (!redis_is_up(redis))
        return ERR_DOWN;
    return redis_queue(redis, args, arg_count, callback, arg);
}

/* --- a connection ends --- */

void redis_fail(struct redis *redis, const char *what, const char *detail)
{
    if (redis->fault[0])
        return; /* the first fault is the cause of the others */
    snprintf(redis->fault, sizeof redis->fault, "%s%s%s", what, *detail ? ": " : "", detail);
}

void redis_fail_text(struct redis *redis, const char *what, struct slice text)
{
    char detail[100];

    redis_error_clean(detail, sizeof detail, text);
    redis_fail(redis, what, detail);
}

static void close_connection(struct redis *redis)
{
    if (redis->fd >= 0) {
        loop_unwatch(&redis->watch);
        stream_close(redis->fd, redis->tls);
    }
    redis->fd = -1;
    redis->tls = NULL;
    redis->state = DOWN;
    redis->blocked = false;
    redis->leave = NULL;
    if (redis->reader)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
    if (redis->output.data)
        explicit_bzero(redis->output.data, redis->output.len); /* may hold a password */
    buf_fini(&redis->output);
    redis->output_sent = 0;
}

/* Logs the fault and clears the record of it; a repetition is logged at the level debug. */
static void log_fault(struct redis *redis, bool was_up)
{
    bool news = was_up || strcmp(redis->fault, redis->logged) != 0;
    struct log_text text;

    log_at(news && !redis->held ? LOG_WARN : LOG_DEBUG, was_up ? "redis_lost" : "redis_unreachable",
           "connection=%s attempt=%u retry_ms=%llu reason=%s", redis->name, redis->attempts,
           (unsigned long long)redis->delay_ms, log_quote(&text, slice_of(redis->fault)));
    memcpy(redis->logged, redis->fault, sizeof redis->logged);
    redis->fault[0] = 0;
}

/* All workers lose Redis in the same millisecond; jitter keeps their attempts apart. */
static uint64_t jittered(uint64_t delay_ms)
{
    uint64_t spread = delay_ms / 5; /* 20 %: 10 % on either side */
    uint32_t random = 0;

    if (spread == 0 || getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        return delay_ms;
    return delay_ms - spread / 2 + random % (spread + 1);
}

static void schedule_retry(struct redis *redis)
{
    uint64_t next_ms = redis->delay_ms + redis->delay_ms / 2;

    loop_timer_set(&redis->timer, jittered(redis->delay_ms));
    redis->delay_ms = next_ms < redis->reconnect_max_ms ? next_ms : redis->reconnect_max_ms;
}

/* The record is in the state DOWN before any callback runs, so callbacks meet a Redis that is
 * simply down. */
static void drop_connection(struct redis *redis)
{
    bool was_up = redis->state == UP;

    close_connection(redis);
    redis->tried = true;
    if (was_up) {
        redis->reconnects++;
        redis->attempts = 0;
        redis->delay_ms = redis->reconnect_min_ms;
    }
    log_fault(redis, was_up);
    if (redis->held)
        loop_timer_cancel(&redis->timer);
    else
        schedule_retry(redis);
    answer_all_lost(redis);
    if (was_up && !redis->dying && redis->events.down)
        redis->events.down(redis->events.arg);
}

/* --- around every call that may run callbacks --- */

static void free_redis(struct redis *redis)
{
    free(redis->waiting);
    if (redis->password)
        explicit_bzero(redis->password, strlen(redis->password));
    free(redis->password);
    free(redis->user);
    free(redis->host);
    free(redis->path);
    free(redis->channel);
    free(redis->probe);
    free(redis->name);
    tls_client_free(redis->tls_client);
    free(redis);
}

static void callbacks_begin(struct redis *redis)
{
    redis->depth++;
}

static void callbacks_end(struct redis *redis)
{
    if (redis->leave && redis->waiting_count == 0)
        redis_fail(redis, redis->leave, "");
    if (redis->fault[0] && !redis->dying)
        drop_connection(redis);
    redis->depth--;
    if (redis->dying && redis->depth == 0)
        free_redis(redis);
}

void redis_free(struct redis *redis)
{
    if (!redis || redis->dying)
        return;
    redis->dying = true;
    loop_timer_cancel(&redis->timer);
    callbacks_begin(redis);
    close_connection(redis);
    answer_all_lost(redis);
    callbacks_end(redis);
}

/* --- answers --- */

static struct redis_reply borrow_reply(const redisReply *from)
{
    struct redis_reply reply = { .type = REDIS_NIL };

    switch (from->type) {
    case REDIS_REPLY_ERROR:
        reply.type = REDIS_ERROR;
        reply.text = slice_make(from->str, from->len);
        break;
    case REDIS_REPLY_STATUS:
        reply.type = REDIS_STATUS;
        reply.text = slice_make(from->str, from->len);
        break;
    case REDIS_REPLY_STRING:
        reply.type = REDIS_STRING;
        reply.text = slice_make(from->str, from->len);
        break;
    case REDIS_REPLY_INTEGER:
        reply.type = REDIS_INTEGER;
        reply.integer = from->integer;
        break;
    case REDIS_REPLY_ARRAY:
        reply.type = REDIS_ARRAY;
        reply.array = from;
        reply.count = from->elements;
        break;
    default:
        break;
    }
    return reply;
}

struct redis_reply redis_reply_at(const struct redis_reply *reply, size_t i)
{
    const redisReply *array = reply->array;

    if (reply->type != REDIS_ARRAY || i >= reply->count)
        return (struct redis_reply){ .type = REDIS_NIL };
    return borrow_reply(array->element[i]);
}

/* A subscriber's ["message", channel, payload] answers no command. All else answers the oldest. */
static bool is_message(const struct redis *redis, const struct redis_reply *reply)
{
    return redis->channel && reply->type == REDIS_ARRAY && reply->count == 3 &&
           slice_equal(redis_reply_at(reply, 0).text, SLICE("message"));
}

/* The oldest command is the one that is timed. Its answer came no later than this turn began. */
static void tell_round_trip(const struct redis *redis)
{
    uint64_t now_ns = loop_now_ns(redis->loop);

    if (redis->timed && redis->timed_sent_ns)
        redis->timed(redis->timed_arg,
                     now_ns > redis->timed_sent_ns ? now_ns - redis->timed_sent_ns : 0);
}

static void answer_oldest(struct redis *redis, const struct redis_reply *reply)
{
    if (is_message(redis, reply)) {
        redis->message(redis->message_arg, redis_reply_at(reply, 2).text);
        return;
    }
    if (redis->waiting_count == 0) {
        /* Such as "max number of clients reached", which Redis sends before it closes. */
        if (reply->type == REDIS_ERROR)
            redis_fail_text(redis, "Redis said", reply->text);
        else
            redis_fail(redis, "an answer that nobody asked for", "");
        return;
    }
    if (redis->timed_at == redis->waiting_first)
        tell_round_trip(redis);
    struct waiting waiting = redis_waiting_take(redis);
    if (waiting.callback)
        waiting.callback(waiting.arg, reply);
}

/* Handles each whole answer that has come. A callback may call redis_free, or note a fault. */
static void read_answers(struct redis *redis)
{
    while (!redis->dying && !redis->fault[0]) {
        void *raw = NULL;
        if (redisReaderGetReply(redis->reader, &raw) != REDIS_OK) {
            redis_fail(redis, "not understood", redis->reader->errstr);
            return;
        }
        if (!raw)
            return;
        struct redis_reply reply = borrow_reply(raw);
        answer_oldest(redis, &reply);
        freeReplyObject(raw);
    }
}

static void read_once(struct redis *redis)
{
    static char input[INPUT_BYTES]; /* one a worker: the reader copies all of it at once */
    ssize_t len = stream_read(redis->fd, redis->tls, input, sizeof input);

    if (len < 0) {
        if (errno != EAGAIN && errno != EINTR)
            redis_tls_fail(redis, "read");
        return;
    }
    if (len == 0) {
        redis_fail(redis, "closed by Redis", "");
        return;
    }
    redis->heard_ms = loop_now_ms(redis->loop);
    if (redisReaderFeed(redis->reader, input, (size_t)len) != REDIS_OK)
        redis_fail(redis, "reader", redis->reader->errstr);
    else
        read_answers(redis);
}

/* No event of the socket announces the bytes that TLS has read ahead. */
static void read_socket(struct redis *redis)
{
    do
        read_once(redis);
    while (redis->tls && !redis->fault[0] && !redis->dying && tls_unread(redis->tls));
}

/* --- the descriptor --- */

static void finish_connecting(struct redis *redis)
{
    int error = redis->tls ? 0 : dial_result(redis->fd);

    if (error)
        redis_fail(redis, "connect", strerror(error));
    else if (!redis->tls_client || redis_tls_step(redis))
        redis_log_in(redis);
}

static void on_redis_socket(void *arg, int fd, unsigned events)
{
    struct redis *redis = arg;

    (void)fd;
    callbacks_begin(redis);
    if (redis->state == CONNECTING) {
        finish_connecting(redis);
    } else {
        if (events & LOOP_WRITE)
            redis->blocked = false; /* redis_flush goes on at the end of this turn */
        if (events & LOOP_READ)
            read_socket(redis);
    }
    callbacks_end(redis);
}

static void output_all_sent(struct redis *redis)
{
    if (redis->state == SETUP)
        explicit_bzero(redis->output.data, redis->output.len); /* may have held a password */
    if (redis->output.size > KEEP_BYTES_MAX)
        buf_fini(&redis->output);
    else
        buf_reset(&redis->output);
    redis->output_sent = 0;
}

/* Cuts bytes that have left off the front of a buffer that never gets empty; without this the
 * buffer of a busy connection would grow to its bound. Once the connection is UP, none of these
 * bytes is a password. */
static void output_shrink(struct redis *redis)
{
    if (redis->state != UP || redis->output_sent < redis->output.len / 2)
        return;
    buf_drop(&redis->output, redis->output_sent);
    redis->output_sent = 0;
}

/* A fault found by redis_flush ends the connection in the next turn: callbacks must not run at the
 * end of a turn. */
static void fail_later(struct redis *redis, const char *what, const char *detail)
{
    redis_fail(redis, what, detail);
    loop_timer_set(&redis->timer, 0);
}

size_t redis_backlog(const struct redis *redis)
{
    return redis->output.len - redis->output_sent;
}

/* Not inlined: most turns have nothing for Redis, and must not pay for more than the question. */
static __attribute__((noinline)) void write_output(struct redis *redis)
{
    size_t left = redis->output.len - redis->output_sent;
    struct iovec piece;
    ssize_t taken;

    if ((left == 0 && !redis_tls_unsent(redis)) || redis->blocked || redis->state < SETUP ||
        redis->fault[0])
        return;
    if (!redis->timed_sent_ns) /* the turn's clock would count what the turn has done since */
        redis->timed_sent_ns = clock_monotonic_ns();
    piece = (struct iovec){ redis->output.data + redis->output_sent, left };
    taken = left ? stream_write(redis->fd, redis->tls, &piece, 1) : redis_tls_finish(redis);
    if (taken < 0 && errno == EPIPE) {
        redis->blocked = true; /* Redis has closed: its last answers are still to be read */
        return;
    }
    if (taken < 0 && errno != EAGAIN && errno != EINTR) {
        fail_later(redis, "write", strerror(errno));
        return;
    }
    if (taken > 0)
        redis->output_sent += (size_t)taken;
    redis->blocked = redis->output_sent < redis->output.len || redis_tls_unsent(redis);
    if (redis->output_sent < redis->output.len)
        output_shrink(redis);
    else
        output_all_sent(redis);
    if (loop_rewatch(redis->loop, &redis->watch,
                     redis->blocked ? LOOP_READ | LOOP_WRITE : LOOP_READ))
        fail_later(redis, "watch", strerror(errno));
}

void redis_flush(struct redis *redis)
{
    if (redis->output.len > redis->output_sent || redis->tls)
        write_output(redis);
}

/* --- time --- */

/* When the connection must have shown a sign of life, or is asked for one. Bytes that come are a
 * sign: they belong to the oldest command's answer, or are messages before a PONG. Bytes that leave
 * are none: the kernel takes bytes for a stopped Redis too. */
static uint64_t due_ms(struct redis *redis)
{
    uint64_t since_ms = redis->heard_ms;

    if (redis->state != UP)
        since_ms = redis->started_ms;
    else if (redis->waiting_count > 0 && redis_waiting_at(redis, 0)->sent_ms > since_ms)
        since_ms = redis_waiting_at(redis, 0)->sent_ms;
    return since_ms + redis->timeout_ms;
}

/* A command that is sent after this call is due after the timer fires, so no command moves the
 * timer. */
static void watch_health(struct redis *redis, uint64_t now_ms)
{
    uint64_t due = due_ms(redis);

    loop_timer_set(&redis->timer, due > now_ms ? due - now_ms : 1);
}

static void count_overdue(struct redis *redis, uint64_t now_ms)
{
    for (size_t i = 0; i < redis->waiting_count; i++)
        if (redis_waiting_at(redis, i)->sent_ms + redis->timeout_ms <= now_ms)
            redis->timeouts++;
}

static void check_health(struct redis *redis)
{
    uint64_t now_ms = loop_now_ms(redis->loop);

    if (due_ms(redis) > now_ms) {
        watch_health(redis, now_ms);
    } else if (redis->state == UP && redis->waiting_count == 0) {
        if (redis_queue_ping(redis, NULL))
            redis_fail(redis, "no memory", "");
        watch_health(redis, now_ms);
    } else {
        count_overdue(redis, now_ms);
        redis_fail(redis,
                   redis->state == CONNECTING ? "connecting took too long" : "no answer in time",
                   "");
    }
}

static void on_redis_timer(void *arg)
{
    struct redis *redis = arg;

    callbacks_begin(redis);
    if (!redis->fault[0]) { /* else redis_flush found a fault, and callbacks_end drops */
        if (redis->state == DOWN)
            connect_now(redis);
        else
            check_health(redis);
    }
    callbacks_end(redis);
}

static enum err dial_redis(struct redis *redis)
{
    if (redis->kind == CONFIG_REDIS_UNIX)
        return dial_unix(redis->path, &redis->fd);
    return dial_tcp(redis->host, redis->port, redis->attempts, &redis->fd);
}

static const char *dial_fault(enum err err)
{
    if (err == ERR_ABSENT)
        return "no such host";
    return err == ERR_SYSTEM ? strerror(errno) : err_name(err);
}

static void connect_now(struct redis *redis)
{
    enum err err;

    redis->started_ms = redis->heard_ms = loop_now_ms(redis->loop);
    err = dial_redis(redis);
    redis->attempts++;
    if (err) {
        redis->fd = -1;
        redis_fail(redis, "connect", dial_fault(err));
        return;
    }
    redis->reader = redisReaderCreate();
    err = loop_watch(redis->loop, &redis->watch, redis->fd, LOOP_WRITE, on_redis_socket, redis);
    if (err || !redis->reader) {
        redis_fail(redis, "no memory", "");
        return;
    }
    redis->state = CONNECTING;
    watch_health(redis, redis->started_ms);
}

/* --- making it --- */

static char *copy_text(const char *text)
{
    return strdup(text ? text : "");
}

static bool copy_options(struct redis *redis, const struct config *config, const char *name)
{
    redis->kind = config->redis.kind;
    redis->port = (uint16_t)config->redis.port;
    redis->db = config->redis.db;
    redis->timeout_ms = (uint64_t)config->redis_options.command_timeout_ms;
    redis->reconnect_min_ms = (uint64_t)config->redis_options.reconnect_min_ms;
    redis->reconnect_max_ms = (uint64_t)config->redis_options.reconnect_max_ms;
    redis->delay_ms = redis->reconnect_min_ms;
    redis->name = copy_text(name);
    redis->host = copy_text(config->redis.host);
    redis->path = copy_text(config->redis.path);
    redis->user = copy_text(config->redis.user);
    redis->password = copy_text(config->redis.password);
    return redis->name && redis->host && redis->path && redis->user && redis->password &&
           redis_tls_prepare(redis, config);
}

struct redis *redis_new(struct loop *loop, const struct config *config, const char *name_for_logs,
                        const struct redis_events *events)
{
    struct redis *redis = calloc(1, sizeof *redis);

    assert(config->redis.kind != CONFIG_REDIS_NONE);
    if (!redis)
        return NULL;
    redis->loop = loop;
    redis->events = *events;
    redis->fd = -1;
    redis->timed_at = NOT_TIMED;
    buf_init(&redis->output, OUTPUT_BYTES_MAX);
    if (!copy_options(redis, config, name_for_logs)) {
        free_redis(redis);
        return NULL;
    }
    loop_timer_init(loop, &redis->timer, on_redis_timer, redis);
    loop_timer_set(&redis->timer, 0); /* the first turn: redis_subscribe has been called by then */
    return redis;
}

enum err redis_subscribe(struct redis *redis, struct slice channel,
                         void (*message)(void *arg, struct slice payload), void *arg)
{
    assert(redis->state == DOWN && !redis->channel);
    redis->channel = malloc(channel.len + 1);
    if (!redis->channel)
        return ERR_NOMEM;
    memcpy(redis->channel, channel.data, channel.len);
    redis->channel_len = channel.len;
    redis->message = message;
    redis->message_arg = arg;
    return OK;
}

enum err redis_need_master(struct redis *redis, struct slice key)
{
    assert(redis->state == DOWN && !redis->probe);
    redis->probe = strndup(key.data, key.len);
    if (!redis->probe)
        return ERR_NOMEM;
    redis->probe_len = key.len;
    return OK;
}

bool redis_is_up(const struct redis *redis)
{
    return redis->state == UP && !redis->fault[0] && !redis->leave;
}

/* --- another Redis --- */

void redis_on_demoted(struct redis *redis, void (*demoted)(void *arg, bool elsewhere), void *arg)
{
    redis->demoted = demoted;
    redis->demoted_arg = arg;
}

void redis_on_timed(struct redis *redis, void (*timed)(void *arg, uint64_t ns), void *arg)
{
    redis->timed = timed;
    redis->timed_arg = arg;
}

void redis_demoted(struct redis *redis, bool elsewhere)
{
    if (redis->demoted && redis_is_up(redis))
        redis->demoted(redis->demoted_arg, elsewhere);
}

void redis_renew(struct redis *redis, const char *why)
{
    if (!redis_is_up(redis))
        return;
    redis->leave = why;
    if (redis->waiting_count == 0)
        fail_later(redis, why, "");
}

void redis_hold(struct redis *redis)
{
    redis->held = true;
    if (redis->state == DOWN)
        loop_timer_cancel(&redis->timer);
    else
        fail_later(redis, "not needed now", "");
}

/* A connection that is ending still schedules its own next attempt (drop_connection). */
void redis_release(struct redis *redis)
{
    if (!redis->held)
        return;
    redis->held = false;
    if (redis->state == DOWN)
        loop_timer_set(&redis->timer, 0);
}

bool redis_tried(const struct redis *redis)
{
    return redis->tried;
}

void redis_take_counts(struct redis *redis, uint64_t *reconnects, uint64_t *timeouts)
{
    *reconnects = redis->reconnects;
    *timeouts = redis->timeouts;
    redis->reconnects = redis->timeouts = 0;
}
