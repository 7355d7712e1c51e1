/*
 * One connection to Redis: what is written, what is awaited, when it is given up.
 *
 * Answers come in the order of the commands, so one ring of who waits is all the bookkeeping there
 * is, and the silence since its oldest entry is the health of the connection. An idle connection
 * asks PING, so a half-dead one is found too, the subscriber's included.
 *
 * Of hiredis only the reply reader is used. Its asynchronous half (0.14.1) asserts on what a server
 * says, keeps a record of each command sent while subscribed until it disconnects, calls the
 * callback of the message before when PONG comes, and frees itself under its caller's feet; the
 * sockets that it opens are inherited by exec.
 *
 * Callbacks run only from the descriptor's and the timer's own turn: never inside redis_command or
 * redis_flush. Nothing here logs what is sent, nor an error's text where it may quote a password.
 */
#include "worker/redis/redis_parts.h"

#include "common/log.h"
#include "worker/io/dial.h"

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

static void try_now(struct redis *redis);

/* Each entry is taken before its callback runs, so that no callback can see one twice. */
static void tell_all_lost(struct redis *redis)
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
        return; /* the first reason is the true one */
    snprintf(redis->fault, sizeof redis->fault, "%s%s%s", what, *detail ? ": " : "", detail);
}

void redis_fail_text(struct redis *redis, const char *what, struct slice text)
{
    char detail[100];
    size_t len = text.len < sizeof detail - 1 ? text.len : sizeof detail - 1;

    memcpy(detail, text.data, len);
    detail[len] = 0;
    redis_fail(redis, what, detail);
}

static void close_connection(struct redis *redis)
{
    if (redis->fd >= 0) {
        loop_unwatch(&redis->watch);
        close(redis->fd);
    }
    redis->fd = -1;
    redis->state = DOWN;
    redis->blocked = false;
    if (redis->reader)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
    if (redis->output.data)
        explicit_bzero(redis->output.data, redis->output.len); /* may hold an AUTH */
    buf_fini(&redis->output);
    redis->output_sent = 0;
}

/* Says why, once for each reason in a row, and is done with it. */
static void log_fault(struct redis *redis, bool was_up)
{
    bool news = was_up || strcmp(redis->fault, redis->logged) != 0;
    struct log_text text;

    log_at(news ? LOG_WARN : LOG_DEBUG, was_up ? "redis_lost" : "redis_unreachable",
           "connection=%s attempt=%u retry_ms=%llu reason=%s", redis->name, redis->attempts,
           (unsigned long long)redis->delay_ms, log_quote(&text, slice_of(redis->fault)));
    memcpy(redis->logged, redis->fault, sizeof redis->logged);
    redis->fault[0] = 0;
}

/* All workers lose Redis in the same millisecond; the jitter keeps them from coming back in one. */
static uint64_t with_jitter(uint64_t delay_ms)
{
    uint64_t spread = delay_ms / 5; /* 20 %: 10 on either side */
    uint32_t random = 0;

    if (spread == 0 || getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        return delay_ms;
    return delay_ms - spread / 2 + random % (spread + 1);
}

static void schedule_retry(struct redis *redis)
{
    uint64_t next_ms = redis->delay_ms + redis->delay_ms / 2;

    loop_timer_set(&redis->timer, with_jitter(redis->delay_ms));
    redis->delay_ms = next_ms < redis->reconnect_max_ms ? next_ms : redis->reconnect_max_ms;
}

/* Everything is in order again before anybody is told, so callbacks find a Redis that is simply
 * down. */
static void drop(struct redis *redis)
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
    schedule_retry(redis);
    tell_all_lost(redis);
    if (was_up && !redis->dying && redis->events.down)
        redis->events.down(redis->events.arg);
}

/* --- the frame around every place that may call back --- */

static void destroy(struct redis *redis)
{
    free(redis->waiting);
    if (redis->password)
        explicit_bzero(redis->password, strlen(redis->password));
    free(redis->password);
    free(redis->user);
    free(redis->host);
    free(redis->path);
    free(redis->channel);
    free(redis->name);
    free(redis);
}

static void enter(struct redis *redis)
{
    redis->depth++;
}

static void leave(struct redis *redis)
{
    if (redis->fault[0] && !redis->dying)
        drop(redis);
    redis->depth--;
    if (redis->dying && redis->depth == 0)
        destroy(redis);
}

void redis_free(struct redis *redis)
{
    if (!redis || redis->dying)
        return;
    redis->dying = true;
    loop_timer_cancel(&redis->timer);
    enter(redis);
    close_connection(redis);
    tell_all_lost(redis);
    leave(redis);
}

/* --- answers --- */

static struct redis_reply borrow(const redisReply *from)
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
    return borrow(array->element[i]);
}

/* In a subscriber's stream ["message", channel, payload] is nobody's answer; all else is, in order.
 */
static bool is_message(const struct redis *redis, const struct redis_reply *reply)
{
    return redis->channel && reply->type == REDIS_ARRAY && reply->count == 3 &&
           slice_equal(redis_reply_at(reply, 0).text, SLICE("message"));
}

static void take_answer(struct redis *redis, const struct redis_reply *reply)
{
    if (is_message(redis, reply)) {
        redis->message(redis->message_arg, redis_reply_at(reply, 2).text);
        return;
    }
    if (redis->waiting_count == 0) {
        /* Such as "max number of clients reached", which comes unasked before the end. */
        if (reply->type == REDIS_ERROR)
            redis_fail_text(redis, "Redis said", reply->text);
        else
            redis_fail(redis, "an answer that nobody asked for", "");
        return;
    }
    struct waiting waiting = redis_waiting_take(redis);
    if (waiting.callback)
        waiting.callback(waiting.arg, reply);
}

/* Every whole answer that has come. A callback may have freed the redis, or found a fault. */
static void take_answers(struct redis *redis)
{
    while (!redis->dying && !redis->fault[0]) {
        void *raw = NULL;
        if (redisReaderGetReply(redis->reader, &raw) != REDIS_OK) {
            redis_fail(redis, "not understood", redis->reader->errstr);
            return;
        }
        if (!raw)
            return;
        struct redis_reply reply = borrow(raw);
        take_answer(redis, &reply);
        freeReplyObject(raw);
    }
}

static void read_some(struct redis *redis)
{
    static char input[INPUT_BYTES]; /* one a worker: it is empty again before this returns */
    ssize_t len = recv(redis->fd, input, sizeof input, 0);

    if (len < 0) {
        if (errno != EAGAIN && errno != EINTR)
            redis_fail(redis, "read", strerror(errno));
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
        take_answers(redis);
}

/* --- the descriptor --- */

static void on_connected(struct redis *redis)
{
    int error = dial_result(redis->fd);

    if (error)
        redis_fail(redis, "connect", strerror(error));
    else
        redis_log_in(redis);
}

static void on_fd(void *arg, int fd, unsigned events)
{
    struct redis *redis = arg;

    (void)fd;
    enter(redis);
    if (redis->state == CONNECTING) {
        on_connected(redis);
    } else {
        if (events & LOOP_WRITE)
            redis->blocked = false; /* the flush at the end of this turn goes on */
        if (events & LOOP_READ)
            read_some(redis);
    }
    leave(redis);
}

static void output_empty(struct redis *redis)
{
    if (redis->state == SETUP)
        explicit_bzero(redis->output.data, redis->output.len); /* held an AUTH */
    if (redis->output.size > KEEP_BYTES_MAX)
        buf_fini(&redis->output);
    else
        buf_reset(&redis->output);
    redis->output_sent = 0;
}

/* While it never gets empty, what has left still goes, or a busy connection would fill its buffer
 * with it. Passwords are only in what is sent before it is up. */
static void output_shrink(struct redis *redis)
{
    if (redis->state != UP || redis->output_sent < redis->output.len / 2)
        return;
    buf_drop(&redis->output, redis->output_sent);
    redis->output_sent = 0;
}

/* A fault found here is not acted on at once: callbacks belong into a turn, not at its end. */
static void fail_later(struct redis *redis, const char *what, const char *detail)
{
    redis_fail(redis, what, detail);
    loop_timer_set(&redis->timer, 0);
}

size_t redis_backlog(const struct redis *redis)
{
    return redis->output.len - redis->output_sent;
}

void redis_flush(struct redis *redis)
{
    size_t left = redis->output.len - redis->output_sent;
    ssize_t taken;

    if (left == 0 || redis->blocked || redis->state < SETUP || redis->fault[0])
        return;
    taken = send(redis->fd, redis->output.data + redis->output_sent, left, MSG_NOSIGNAL);
    if (taken < 0 && errno == EPIPE) {
        redis->blocked =
            true; /* Redis has closed; what it said before is still to be read, then the end */
        return;
    }
    if (taken < 0 && errno != EAGAIN && errno != EINTR) {
        fail_later(redis, "write", strerror(errno));
        return;
    }
    if (taken > 0)
        redis->output_sent += (size_t)taken;
    redis->blocked = redis->output_sent < redis->output.len;
    if (redis->blocked)
        output_shrink(redis);
    else
        output_empty(redis);
    if (loop_rewatch(redis->loop, &redis->watch,
                     redis->blocked ? LOOP_READ | LOOP_WRITE : LOOP_READ))
        fail_later(redis, "watch", strerror(errno));
}

/* --- time --- */

/* When this connection must have shown life, or be asked for it. Bytes that come are life: they are
 * the oldest command's answer on its way, or messages before a PONG. Bytes that leave are not: the
 * kernel takes them for a stopped Redis too. */
static uint64_t due_ms(struct redis *redis)
{
    uint64_t since_ms = redis->heard_ms;

    if (redis->state != UP)
        since_ms = redis->started_ms;
    else if (redis->waiting_count > 0 && redis_waiting_at(redis, 0)->sent_ms > since_ms)
        since_ms = redis_waiting_at(redis, 0)->sent_ms;
    return since_ms + redis->timeout_ms;
}

/* Anything sent after the timer was set is due after it fires, so it is never moved for a command.
 */
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

static void on_timer(void *arg)
{
    struct redis *redis = arg;

    enter(redis);
    if (!redis->fault[0]) { /* else it was found by redis_flush, and leave acts on it */
        if (redis->state == DOWN)
            try_now(redis);
        else
            check_health(redis);
    }
    leave(redis);
}

static enum err dial(struct redis *redis)
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

static void try_now(struct redis *redis)
{
    enum err err;

    redis->started_ms = redis->heard_ms = loop_now_ms(redis->loop);
    err = dial(redis);
    redis->attempts++;
    if (err) {
        redis->fd = -1;
        redis_fail(redis, "connect", dial_fault(err));
        return;
    }
    redis->reader = redisReaderCreate();
    err = loop_watch(redis->loop, &redis->watch, redis->fd, LOOP_WRITE, on_fd, redis);
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
    return redis->name && redis->host && redis->path && redis->user && redis->password;
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
    buf_init(&redis->output, OUTPUT_BYTES_MAX);
    if (!copy_options(redis, config, name_for_logs)) {
        destroy(redis);
        return NULL;
    }
    loop_timer_init(loop, &redis->timer, on_timer, redis);
    loop_timer_set(&redis->timer, 0); /* in the first turn, when a subscriber knows its channel */
    return redis;
}

void redis_subscribe(struct redis *redis, struct slice channel,
                     void (*message)(void *arg, struct slice payload), void *arg)
{
    assert(redis->state == DOWN && !redis->channel);
    redis->channel = malloc(channel.len + 1);
    if (!redis->channel)
        abort(); /* at the start of a worker: the master starts another */
    memcpy(redis->channel, channel.data, channel.len);
    redis->channel_len = channel.len;
    redis->message = message;
    redis->message_arg = arg;
}

bool redis_is_up(const struct redis *redis)
{
    return redis->state == UP && !redis->fault[0];
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
