/*
 * One connection to Redis: what is written, what is awaited, when it is given up.
 *
 * Answers come in the order of the commands, so one ring of who waits is all the bookkeeping there
 * is, and the age of its oldest entry is the health of the connection. An idle connection asks
 * PING, so a half-dead one is found too, the subscriber's included.
 *
 * Of hiredis only the reply reader is used. Its asynchronous half (0.14.1) asserts on what a server
 * says, keeps a record of each command sent while subscribed until it disconnects, calls the
 * callback of the message before when PONG comes, and frees itself under its caller's feet; the
 * sockets that it opens are inherited by exec.
 *
 * Callbacks run only from the descriptor's and the timer's own turn: never inside redis_command or
 * redis_flush. Nothing here logs what is sent, nor an error's text where it may quote a password.
 */
#include "worker/redis.h"

#include "common/buf.h"
#include "common/log.h"
#include "worker/dial.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    OUTPUT_BYTES_MAX = 128 << 20, /* queued for a Redis that does not read; past it ERR_FULL */
    WAITING_MAX = 1 << 20,        /* commands without an answer; past it ERR_FULL */
    INPUT_BYTES = 64 << 10,       /* read at once */
    KEEP_BYTES_MAX = 1 << 20,     /* an output buffer that grew larger is given back when empty */
    ARGS_MAX = 1 << 16,
};

enum state {
    DOWN,       /* the timer will try again */
    CONNECTING, /* waiting for the socket to become writable */
    SETUP,      /* AUTH, SELECT, PING, SUBSCRIBE are on their way */
    UP,
};

/* One command without an answer. */
struct waiting {
    uint64_t sent_ms;
    redis_cb callback; /* NULL: nobody wants to know */
    void *arg;
};

struct redis {
    struct loop *loop;
    struct redis_events events;
    char *name;

    enum config_redis_kind kind;
    char *host, *path, *user, *password;
    uint16_t port;
    int64_t db;
    uint64_t timeout_ms, reconnect_min_ms, reconnect_max_ms;

    char *channel; /* NULL: not a subscriber */
    size_t channel_len;
    void (*message)(void *arg, struct slice payload);
    void *message_arg;

    enum state state;
    int fd;
    struct loop_watch watch;
    struct loop_timer
        timer; /* DOWN: when to try again; else: when to look at the oldest answer due */
    redisReader *reader;
    struct buf output;
    size_t output_sent; /* of output, what the socket has taken */
    bool blocked;       /* the socket took less than it was given; wait until it is writable */

    struct waiting *waiting; /* a ring; its size is a power of two */
    size_t waiting_first, waiting_count, waiting_size;

    uint64_t started_ms; /* this attempt to connect */
    uint64_t heard_ms;   /* the last byte that came */
    uint64_t delay_ms;   /* before the next attempt, without jitter */
    unsigned attempts;   /* since it was up */
    bool tried;

    char fault[160];  /* why the connection must go; "" while it is well */
    char logged[160]; /* the last reason that was logged, so that a long outage is one line */
    uint64_t reconnects, timeouts;

    unsigned depth; /* callbacks that we are inside of: redis_free must not pull the floor away */
    bool dying;
};

static void try_now(struct redis *redis);

/* --- who waits for an answer -------------------------------------------------------------------
 */

static struct waiting *waiting_at(struct redis *redis, size_t i)
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
        ring[i] = *waiting_at(redis, i);
    free(redis->waiting);
    redis->waiting = ring;
    redis->waiting_size = size;
    redis->waiting_first = 0;
    return OK;
}

static void waiting_put(struct redis *redis, redis_cb callback, void *arg)
{
    assert(redis->waiting_count < redis->waiting_size);
    *waiting_at(redis, redis->waiting_count) =
        (struct waiting){ .sent_ms = loop_now_ms(redis->loop), .callback = callback, .arg = arg };
    redis->waiting_count++;
}

static struct waiting waiting_take(struct redis *redis)
{
    assert(redis->waiting_count > 0);
    struct waiting taken = *waiting_at(redis, 0);

    redis->waiting_first = (redis->waiting_first + 1) & (redis->waiting_size - 1);
    redis->waiting_count--;
    return taken;
}

/* Each entry is taken before its callback runs, so that no callback can see one twice. */
static void tell_all_lost(struct redis *redis)
{
    static const struct redis_reply lost = { .type = REDIS_LOST };

    while (redis->waiting_count > 0) {
        struct waiting waiting = waiting_take(redis);
        if (waiting.callback)
            waiting.callback(waiting.arg, &lost);
    }
}

/* --- commands ----------------------------------------------------------------------------------
 */

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

static enum err queue(struct redis *redis, const struct slice *args, size_t arg_count,
                      redis_cb callback, void *arg)
{
    enum err err = waiting_reserve(redis);

    if (!err)
        err = add_request(&redis->output, args, arg_count);
    if (!err)
        waiting_put(redis, callback, arg);
    return err;
}

enum err redis_command(struct redis *redis, const struct slice *args, size_t arg_count,
                       redis_cb callback, void *arg)
{
    assert(arg_count > 0 && arg_count <= ARGS_MAX);
    if (!redis_is_up(redis))
        return ERR_DOWN;
    return queue(redis, args, arg_count, callback, arg);
}

/* --- a connection ends -------------------------------------------------------------------------
 */

/* Remembers why; the connection is dropped by whoever is at the edge of the turn. */
static void fail(struct redis *redis, const char *what, const char *detail)
{
    if (redis->fault[0])
        return; /* the first reason is the true one */
    snprintf(redis->fault, sizeof redis->fault, "%s%s%s", what, *detail ? ": " : "", detail);
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

/* --- the frame around every place that may call back --------------------------------------------
 */

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

/* --- logging in --------------------------------------------------------------------------------
 */

/* The code of an error answer (WRONGPASS, NOAUTH, …). The rest may quote the command, password and
 * all: a server whose AUTH was renamed answers "unknown command 'AUTH', with args beginning with:
 * …". */
static void fail_auth(struct redis *redis, struct slice text)
{
    char code[32] = "";
    size_t len = 0;

    while (len < text.len && len < sizeof code - 1 && text.data[len] >= 'A' &&
           text.data[len] <= 'Z')
        len++;
    memcpy(code, text.data, len);
    code[len] = 0;
    fail(redis, "login refused", code);
}

static void fail_with_text(struct redis *redis, const char *what, struct slice text)
{
    char detail[100];
    size_t len = text.len < sizeof detail - 1 ? text.len : sizeof detail - 1;

    memcpy(detail, text.data, len);
    detail[len] = 0;
    fail(redis, what, detail);
}

static void on_auth(void *arg, const struct redis_reply *reply)
{
    if (reply->type == REDIS_ERROR)
        fail_auth(arg, reply->text);
}

static void on_select(void *arg, const struct redis_reply *reply)
{
    if (reply->type == REDIS_ERROR)
        fail_with_text(arg, "SELECT refused", reply->text);
}

static void now_up(struct redis *redis)
{
    redis->state = UP;
    redis->tried = true;
    redis->attempts = 0;
    redis->delay_ms = redis->reconnect_min_ms;
    redis->logged[0] = 0;
    log_info("redis_up", "connection=%s after_ms=%llu", redis->name,
             (unsigned long long)(loop_now_ms(redis->loop) - redis->started_ms));
    if (redis->events.up)
        redis->events.up(redis->events.arg);
}

/* The last step of a plain connection. LOADING, NOAUTH and MASTERDOWN show here; a user whose ACL
 * withholds PING (NOPERM) is logged in all the same. */
static void on_ready(void *arg, const struct redis_reply *reply)
{
    struct redis *redis = arg;

    if (reply->type == REDIS_LOST || redis->fault[0])
        return;
    if (reply->type == REDIS_ERROR && !slice_starts(reply->text, SLICE("NOPERM")))
        fail_with_text(redis, "not ready", reply->text);
    else if (reply->type != REDIS_ERROR && reply->type != REDIS_STATUS)
        fail(redis, "PING answered with something else", "");
    else if (!redis->channel)
        now_up(redis);
}

/* The last step of a subscriber. */
static void on_subscribed(void *arg, const struct redis_reply *reply)
{
    struct redis *redis = arg;

    if (reply->type == REDIS_LOST || redis->fault[0])
        return;
    if (reply->type == REDIS_ERROR)
        fail_with_text(redis, "SUBSCRIBE refused", reply->text);
    else if (reply->type != REDIS_ARRAY ||
             !slice_equal(redis_reply_at(reply, 0).text, SLICE("subscribe")))
        fail(redis, "SUBSCRIBE answered with something else", "");
    else
        now_up(redis);
}

static enum err queue_auth(struct redis *redis)
{
    struct slice args[3] = { SLICE("AUTH") };
    size_t count = 1;

    if (!redis->user[0] && !redis->password[0])
        return OK;
    if (redis->user[0]) /* the form of Redis 6 and its ACLs */
        args[count++] = slice_of(redis->user);
    args[count++] = slice_of(redis->password);
    return queue(redis, args, count, on_auth, redis);
}

static enum err queue_select(struct redis *redis)
{
    char digits[24];
    struct slice args[2] = { SLICE("SELECT") };

    if (redis->db == 0)
        return OK;
    snprintf(digits, sizeof digits, "%lld", (long long)redis->db);
    args[1] = slice_of(digits);
    return queue(redis, args, 2, on_select, redis);
}

static enum err queue_ping(struct redis *redis, redis_cb callback)
{
    return queue(redis, &SLICE("PING"), 1, callback, redis);
}

static enum err queue_subscribe(struct redis *redis)
{
    struct slice args[2] = { SLICE("SUBSCRIBE") };

    if (!redis->channel)
        return OK;
    args[1] = slice_make(redis->channel, redis->channel_len);
    return queue(redis, args, 2, on_subscribed, redis);
}

/* All steps leave in one write; the first that is refused ends the attempt. */
static void set_up(struct redis *redis)
{
    enum err err =
        buf_reserve(&redis->output, 4096); /* so that a password is not left in a smaller block */

    redis->state = SETUP;
    if (!err)
        err = queue_auth(redis);
    if (!err)
        err = queue_select(redis);
    if (!err)
        err = queue_ping(redis, on_ready);
    if (!err)
        err = queue_subscribe(redis);
    if (!err)
        err = loop_rewatch(redis->loop, &redis->watch, LOOP_READ);
    if (err)
        fail(redis, "cannot log in", err_name(err));
}

/* --- answers -----------------------------------------------------------------------------------
 */

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
            fail_with_text(redis, "Redis said", reply->text);
        else
            fail(redis, "an answer that nobody asked for", "");
        return;
    }
    struct waiting waiting = waiting_take(redis);
    if (waiting.callback)
        waiting.callback(waiting.arg, reply);
}

/* Every whole answer that has come. A callback may have freed the redis, or found a fault. */
static void take_answers(struct redis *redis)
{
    while (!redis->dying && !redis->fault[0]) {
        void *raw = NULL;
        if (redisReaderGetReply(redis->reader, &raw) != REDIS_OK) {
            fail(redis, "not understood", redis->reader->errstr);
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
            fail(redis, "read", strerror(errno));
        return;
    }
    if (len == 0) {
        fail(redis, "closed by Redis", "");
        return;
    }
    redis->heard_ms = loop_now_ms(redis->loop);
    if (redisReaderFeed(redis->reader, input, (size_t)len) != REDIS_OK)
        fail(redis, "reader", redis->reader->errstr);
    else
        take_answers(redis);
}

/* --- the descriptor ----------------------------------------------------------------------------
 */

static void on_connected(struct redis *redis)
{
    int error = dial_result(redis->fd);

    if (error)
        fail(redis, "connect", strerror(error));
    else
        set_up(redis);
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

/* A fault found here is not acted on at once: callbacks belong into a turn, not at its end. */
static void fail_later(struct redis *redis, const char *what, const char *detail)
{
    fail(redis, what, detail);
    loop_timer_set(&redis->timer, 0);
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
    if (!redis->blocked)
        output_empty(redis);
    if (loop_rewatch(redis->loop, &redis->watch,
                     redis->blocked ? LOOP_READ | LOOP_WRITE : LOOP_READ))
        fail_later(redis, "watch", strerror(errno));
}

/* --- time --------------------------------------------------------------------------------------
 */

/* When this connection must have shown life, or be asked for it. Bytes that come are life: they are
 * the oldest command's answer on its way, or messages before a PONG. Bytes that leave are not: the
 * kernel takes them for a stopped Redis too. */
static uint64_t due_ms(struct redis *redis)
{
    uint64_t since_ms = redis->heard_ms;

    if (redis->state != UP)
        since_ms = redis->started_ms;
    else if (redis->waiting_count > 0 && waiting_at(redis, 0)->sent_ms > since_ms)
        since_ms = waiting_at(redis, 0)->sent_ms;
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
        if (waiting_at(redis, i)->sent_ms + redis->timeout_ms <= now_ms)
            redis->timeouts++;
}

static void check_health(struct redis *redis)
{
    uint64_t now_ms = loop_now_ms(redis->loop);

    if (due_ms(redis) > now_ms) {
        watch_health(redis, now_ms);
    } else if (redis->state == UP && redis->waiting_count == 0) {
        if (queue_ping(redis, NULL))
            fail(redis, "no memory", "");
        watch_health(redis, now_ms);
    } else {
        count_overdue(redis, now_ms);
        fail(redis, redis->state == CONNECTING ? "connecting took too long" : "no answer in time",
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
        fail(redis, "connect", dial_fault(err));
        return;
    }
    redis->reader = redisReaderCreate();
    err = loop_watch(redis->loop, &redis->watch, redis->fd, LOOP_WRITE, on_fd, redis);
    if (err || !redis->reader) {
        fail(redis, "no memory", "");
        return;
    }
    redis->state = CONNECTING;
    watch_health(redis, redis->started_ms);
}

/* --- making it ---------------------------------------------------------------------------------
 */

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
