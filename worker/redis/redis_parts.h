/*
 * The record of one Redis connection, private to three files: redis.c (the life of a connection),
 * redis_login.c (from connected to up), redis_queue.c (commands out, callbacks without an answer).
 */
#ifndef WORKER_REDIS_PARTS_H
#define WORKER_REDIS_PARTS_H

#include "common/buf.h"
#include "worker/redis/redis.h"

enum { OUTPUT_BYTES_MAX = 128 << 20 }; /* queued for a Redis that does not read, then ERR_FULL */
#define NOT_TIMED SIZE_MAX

struct tls;
struct tls_client;
struct redisReader; /* hiredis, known to redis.c alone */

enum state {
    DOWN,       /* the timer will try again */
    CONNECTING, /* waiting for the socket to become writable, and for the handshake of TLS */
    SETUP,      /* AUTH, SELECT, PING, SUBSCRIBE are on their way */
    UP,
};

/* One command without an answer. */
struct waiting {
    uint64_t sent_ms;
    redis_cb callback; /* NULL: the answer is dropped */
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

    char *probe; /* the key that a login writes to; NULL: a replica will do */
    size_t probe_len;
    void (*demoted)(void *arg, bool elsewhere);
    void *demoted_arg;

    enum state state;
    bool held;         /* no attempt to connect until redis_release */
    const char *leave; /* why the connection ends when all commands are answered; NULL: it stays */
    int fd;
    struct loop_watch watch;
    struct loop_timer timer; /* DOWN: the next attempt; else: the next check of the connection */
    struct tls_client *tls_client; /* NULL: plain text */
    struct tls *tls;               /* of the socket, from connected on */
    struct redisReader *reader;
    struct buf output;
    size_t output_sent; /* bytes of output that the socket has taken */
    bool blocked;       /* the socket took less than was offered: wait until it is writable */

    struct waiting *waiting; /* a ring; its size is a power of two */
    size_t waiting_first, waiting_count, waiting_size;
    size_t timed_at;        /* in the ring: the command that is timed; NOT_TIMED: none */
    uint64_t timed_sent_ns; /* when that command left; 0: not yet */
    void (*timed)(void *arg, uint64_t ns); /* NULL: nobody asks */
    void *timed_arg;

    uint64_t started_ms; /* this attempt to connect */
    uint64_t heard_ms;   /* when the last byte came */
    uint64_t delay_ms;   /* the pause before the next attempt, without jitter */
    unsigned attempts;   /* to connect, since the connection was up */
    bool tried;

    char fault[160];  /* why the connection must end; "": no fault */
    char logged[160]; /* the last fault that was logged: a long outage is one warning */
    uint64_t reconnects, timeouts;

    unsigned depth; /* of calls below which a callback may run: redis_free must not free the record
                     * under them */
    bool dying;
};

/* redis.c */

/* Notes why the connection must end; the outermost call of the turn ends the connection. The first
 * fault counts. Neither text may hold a part of a password. */
void redis_fail(struct redis *redis, const char *what, const char *detail);
void redis_fail_text(struct redis *redis, const char *what, struct slice detail);

/* redis_login.c */

/* The socket is connected: queues the commands of the login; their last answer makes the connection
 * UP. */
void redis_log_in(struct redis *redis);

/* redis_queue.c */

/* As redis_command, in any state. ERR_FULL, ERR_NOMEM: nothing was queued. */
enum err redis_queue(struct redis *redis, const struct slice *args, size_t arg_count,
                     redis_cb callback, void *arg);
enum err redis_queue_ping(struct redis *redis, redis_cb callback);
/* The i-th oldest command without an answer; i < waiting_count. */
struct waiting *redis_waiting_at(struct redis *redis, size_t i);
/* Takes the oldest command out of the ring; waiting_count > 0. None is timed any more if this one
 * was. */
struct waiting redis_waiting_take(struct redis *redis);

#endif
