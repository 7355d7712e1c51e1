/*
 * What the files of one Redis connection share, and nobody else sees: redis.c (its life),
 * redis_login.c (from connected to up), redis_queue.c (commands out, who waits for an answer).
 */
#ifndef WORKER_REDIS_PARTS_H
#define WORKER_REDIS_PARTS_H

#include "common/buf.h"
#include "worker/redis/redis.h"

enum { OUTPUT_BYTES_MAX = 128 << 20 }; /* queued for a Redis that does not read; past it ERR_FULL */

struct redisReader; /* hiredis, known to redis.c alone */

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
    struct redisReader *reader;
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

/* redis.c */

/* Remembers why the connection must go; it is dropped by whoever is at the edge of the turn.
 * Nothing of a password may be in it. */
void redis_fail(struct redis *redis, const char *what, const char *detail);
void redis_fail_text(struct redis *redis, const char *what, struct slice detail);

/* redis_login.c */

/* The socket is connected: queues what a usable connection needs; up comes with the last answer. */
void redis_log_in(struct redis *redis);

/* redis_queue.c */

/* redis_command, whatever the state. ERR_FULL, ERR_NOMEM: nothing was queued. */
enum err redis_queue(struct redis *redis, const struct slice *args, size_t arg_count,
                     redis_cb callback, void *arg);
enum err redis_queue_ping(struct redis *redis, redis_cb callback);
/* The i-th oldest of those who wait, of waiting_count. */
struct waiting *redis_waiting_at(struct redis *redis, size_t i);
/* The oldest, which waits no longer. */
struct waiting redis_waiting_take(struct redis *redis);

#endif
