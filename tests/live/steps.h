/*
 * A test as a list of steps against a redis-server that the steps start, stop and kill: each step
 * starts something and names what must become true. At the end the runner checks that all
 * descriptors are closed, and that the log holds something, but no password.
 *
 * `PROGRAM tcp` reaches Redis by a host name instead of a unix socket.
 */
#ifndef TESTS_LIVE_STEPS_H
#define TESTS_LIVE_STEPS_H

#include "server.h"

#include "common/log.h"
#include "worker/redis/redis.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>

enum { TIMEOUT_MS = 2000, POLL_MS = 5, DEADLINE_MS = 60000 };
#define PASSWORD "s3cr3t-of-this-test"

struct step {
    const char *promise;
    void (*start)(void);
    bool (*done)(void);
};

/* What a test file gives the runner. */
struct steps {
    const struct step *list;
    size_t count;
    void (*flush)(void);   /* at the end of each turn of the loop */
    void (*explain)(void); /* prints what a failed step waited for */
    void (*end)(void);     /* frees all that the steps made */
};

static struct loop *loop;
static struct config config;
static char port_text[8] = "0"; /* with "tcp": a free port */
static char log_path[128];
static bool inside; /* set during calls that must not call back */

static inline void server_start(void)
{
    static const char *const options[] = {
        "--port", port_text, "--bind", "127.0.0.1", "--appendonly", "no", "--proto-max-bulk-len",
        "64mb",   NULL
    };

    server_start_with(options);
}

/* For a step that only waits. */
static inline void nothing(void)
{
}

/* --- a Redis connection, and questions to it --- */

static unsigned connection_ups, connection_downs; /* of the connection that was made last */

static inline void on_connection_up(void *arg)
{
    (void)arg;
    connection_ups++;
}

static inline void on_connection_down(void *arg)
{
    (void)arg;
    connection_downs++;
}

/* A path other than socket_path is a unix socket even with "tcp". */
static inline struct redis *connect_as(const char *user, const char *password, int64_t db,
                                       const char *path)
{
    struct redis_events events = { on_connection_up, on_connection_down, NULL };
    struct config its = config;
    char user_copy[64], password_copy[64], path_copy[128];
    struct redis *redis;

    snprintf(user_copy, sizeof user_copy, "%s", user);
    snprintf(password_copy, sizeof password_copy, "%s", password);
    snprintf(path_copy, sizeof path_copy, "%s", path);
    its.redis.user = user_copy;
    its.redis.password = password_copy;
    its.redis.path = path_copy;
    if (path != socket_path)
        its.redis.kind = CONFIG_REDIS_UNIX;
    its.redis.db = db;
    connection_ups = connection_downs = 0;
    redis = redis_new(loop, &its, "test", &events);
    assert(redis);
    return redis;
}

static unsigned answers_wanted, answers_good;

static inline void ask(struct redis *redis, redis_cb callback, size_t count,
                       const struct slice *args)
{
    enum err err;

    inside = true;
    err = redis_command(redis, args, count, callback, NULL);
    inside = false;
    assert(err == OK);
    answers_wanted++;
}

#define ASK(redis, callback, ...)                                                                  \
    ask(redis, callback, sizeof((struct slice[]){ __VA_ARGS__ }) / sizeof(struct slice),           \
        (struct slice[]){ __VA_ARGS__ })

static inline void want_integer(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_INTEGER;
}

static inline bool all_answered(void)
{
    return answers_good == answers_wanted;
}

/* --- the runner --- */

/* A host name may be ::1 first, where nobody listens, and then 127.0.0.1. */
static inline void use_tcp(void)
{
    static char host[] = "localhost";
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert(bind(fd, (const struct sockaddr *)&address, len) == 0 &&
           getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    close(fd);
    config.redis.kind = CONFIG_REDIS_TCP;
    config.redis.host = host;
    config.redis.port = ntohs(address.sin_port);
    snprintf(port_text, sizeof port_text, "%u", ntohs(address.sin_port));
}

static inline unsigned descriptors(void)
{
    DIR *open_ones = opendir("/proc/self/fd");
    unsigned count = 0;

    assert(open_ones);
    while (readdir(open_ones))
        count++;
    closedir(open_ones);
    return count;
}

static const struct steps *the_steps;
static struct loop_timer ticker;
static size_t step_now;
static uint64_t step_started_ms;
static int status;

static inline void step_begin(void)
{
    step_started_ms = loop_now_ms(loop);
    the_steps->list[step_now].start();
    loop_timer_set(&ticker, POLL_MS);
}

static inline void on_tick(void *arg)
{
    const struct step *step = &the_steps->list[step_now];
    uint64_t took_ms = loop_now_ms(loop) - step_started_ms;
    bool done = step->done();

    (void)arg;
    if (!done && took_ms < DEADLINE_MS) {
        loop_timer_set(&ticker, POLL_MS);
        return;
    }
    printf("%s %2zu %5llu ms  %s\n", done ? "ok    " : "FAILED", step_now + 1,
           (unsigned long long)took_ms, step->promise);
    if (!done)
        the_steps->explain();
    status |= !done;
    step_now++;
    if (!done || step_now == the_steps->count)
        loop_stop(loop);
    else
        step_begin();
}

static inline void on_turn_end(void *arg)
{
    (void)arg;
    inside = true;
    the_steps->flush();
    inside = false;
}

static inline void log_must_not_hold_the_password(void)
{
    static char log[1 << 20];
    FILE *file = fopen(log_path, "r");
    size_t len = file ? fread(log, 1, sizeof log - 1, file) : 0;

    log[len] = 0;
    if (file)
        fclose(file);
    if (len == 0 || strstr(log, PASSWORD)) {
        printf("FAILED: the log is empty, or holds a password\n");
        status = 1;
    }
    fputs(log, stderr);
}

static inline int steps_run(const struct steps *steps, int argc, char **argv)
{
    static char empty[] = "", prefix[] = "po:", memory[] = "memory";
    unsigned descriptors_before;
    int log;

    setvbuf(stdout, NULL, _IOLBF, 0);
    the_steps = steps;
    folder_make();
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert(log >= 0);
    log_set_fd(log);
    log_set_level(LOG_DEBUG);
    config.redis.kind = CONFIG_REDIS_UNIX;
    config.redis.path = socket_path;
    config.redis.host = config.redis.user = config.redis.password = empty;
    config.redis_options.prefix = prefix;
    config.mailbox.durability = memory;
    config.redis_options.command_timeout_ms = TIMEOUT_MS;
    config.redis_options.reconnect_min_ms = 50;
    config.redis_options.reconnect_max_ms = 200;
    if (argc > 1 && strcmp(argv[1], "tcp") == 0)
        use_tcp();
    descriptors_before = descriptors();
    loop = loop_new();
    assert(loop);
    loop_timer_init(loop, &ticker, on_tick, NULL);
    step_begin();
    loop_add_hook(loop, on_turn_end, NULL);
    loop_run(loop);
    steps->end();
    loop_free(loop);
    if (descriptors() != descriptors_before) {
        printf("FAILED: %u descriptors before, %u after\n", descriptors_before, descriptors());
        status = 1;
    }
    server_kill();
    log_must_not_hold_the_password();
    close(log);
    remove_tree(folder);
    return status;
}

#endif
