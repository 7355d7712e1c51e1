/*
 * A stand-in for Redis: a server on a unix socket in the test's own process, which speaks RESP2.
 *
 * The code under test connects to the server as to any Redis, so nothing of that code is replaced.
 * The server runs as the last hook of each turn of the loop: commands that a turn writes are read
 * in that turn, and the answers are read by the next turn. Commands that every connection and every
 * session sends (the login, the scripts, the tick of a mailbox, PUBLISH, the empty group "#all")
 * are answered at once; every other command waits until the test answers. Answers leave in the
 * order of the commands, as from Redis. A script is recognised by its keys, never by its text.
 */
#ifndef TESTS_UNIT_REDIS_FIXTURE_H
#define TESTS_UNIT_REDIS_FIXTURE_H

#include "wire_fixture.h"

#include "common/sha1.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

enum { SERVED_MAX = 8, ASKED_MAX = 4096, ASKED_ARGS_MAX = 512, PUBLISHED_MAX = 256 };

/* A command that has come. */
struct asked {
    struct slice args[ASKED_ARGS_MAX];
    size_t count;
    char *bytes;       /* of the arguments */
    struct buf answer; /* sent when `answered` is set */
    bool answered;
};

/* One connection. */
struct served {
    int fd; /* -1: closed */
    bool subscribes;
    struct buf in;
    struct asked *row[ASKED_MAX]; /* commands without an answer, oldest first */
    size_t count;
};

struct published {
    char *channel, *payload;
    size_t payload_len;
};

#define SERVER_EPOCH "0123456789abcdef"

static struct server {
    char folder[64], path[96];
    int listener; /* -1: nobody listens */
    struct served served[SERVED_MAX];
    size_t accepted;
    bool silent;         /* the server reads nothing */
    bool by_hand;        /* the server answers nothing at once */
    unsigned hear_count; /* the answer to PUBLISH */
    const char *epoch;   /* in the answer to the mailbox's tick */
    long long tick;
    struct published published[PUBLISHED_MAX];
    size_t published_count, published_taken;
} server;

/* ---- answers ---- */

static inline size_t shape_count(const char *shape)
{
    size_t count = 0, depth = 0;

    for (; *shape && !(depth == 0 && *shape == ']'); shape++) {
        count += depth == 0;
        depth += *shape == '[';
        depth -= *shape == ']';
    }
    return count;
}

/* RESP by its shape: s bulk string, i integer (long long), n nil, + status, - error, […] array. */
static inline void answer_add_args(struct buf *out, const char *shape, va_list args)
{
    for (; *shape; shape++) {
        const char *text;
        switch (*shape) {
        case '[':
            buf_addf(out, "*%zu\r\n", shape_count(shape + 1));
            break;
        case 's':
            text = va_arg(args, const char *);
            buf_addf(out, "$%zu\r\n%s\r\n", strlen(text), text);
            break;
        case 'i':
            buf_addf(out, ":%lld\r\n", va_arg(args, long long));
            break;
        case 'n':
            buf_add_text(out, "$-1\r\n");
            break;
        case '+':
        case '-':
            buf_addf(out, "%c%s\r\n", *shape, va_arg(args, const char *));
            break;
        default:
            assert_int_equal(*shape, ']');
        }
    }
    assert_false(out->failed);
}

static inline void answer_add(struct buf *out, const char *shape, ...)
{
    va_list args;

    va_start(args, shape);
    answer_add_args(out, shape, args);
    va_end(args);
}

/* Answers a command. The answer leaves in the server's next turn, behind all earlier answers. */
static inline void answer(struct asked *asked, const char *shape, ...)
{
    va_list args;

    assert_false(asked->answered);
    va_start(args, shape);
    answer_add_args(&asked->answer, shape, args);
    va_end(args);
    asked->answered = true;
}

/* ---- commands that have come ---- */

static inline struct slice asked_arg(const struct asked *asked, size_t i)
{
    return i < asked->count ? asked->args[i] : slice_make("", 0);
}

/* The first key of an EVALSHA; of any other command the first argument. */
static inline struct slice asked_key(const struct asked *asked)
{
    return asked_arg(asked, slice_equal(asked_arg(asked, 0), SLICE("EVALSHA")) ? 3 : 1);
}

static inline bool ends_with(struct slice text, const char *ending)
{
    size_t len = strlen(ending);

    return text.len >= len && memcmp(text.data + text.len - len, ending, len) == 0;
}

/* The direction of a question for a page (page.lua): XRANGE or XREVRANGE; else "". */
static inline struct slice asked_page(const struct asked *asked)
{
    struct slice direction = asked_arg(asked, 4);
    bool is_page =
        slice_equal(asked_arg(asked, 0), SLICE("EVALSHA")) &&
        (slice_equal(direction, SLICE("XRANGE")) || slice_equal(direction, SLICE("XREVRANGE")));

    return is_page ? direction : slice_make("", 0);
}

/* A question for a page has the name of its direction. */
static inline bool is_asked(const struct asked *asked, const char *name, const char *key_ending)
{
    struct slice page = asked_page(asked);

    return slice_equal(page.len ? page : asked_arg(asked, 0), slice_of(name)) &&
           ends_with(asked_key(asked), key_ending);
}

/* The oldest command without an answer that has this name, and whose first key ends so; NULL when
 * there is none. */
static inline struct asked *asked_find(const char *name, const char *key_ending)
{
    for (size_t c = 0; c < server.accepted; c++)
        for (size_t i = 0; i < server.served[c].count; i++) {
            struct asked *asked = server.served[c].row[i];
            if (!asked->answered && is_asked(asked, name, key_ending))
                return asked;
        }
    return NULL;
}

/* Prints all commands without an answer, for the author of a test. */
static inline void asked_print(void)
{
    for (size_t c = 0; c < server.accepted; c++)
        for (size_t i = 0; i < server.served[c].count; i++) {
            const struct asked *asked = server.served[c].row[i];
            print_error("connection %zu%s:", c, asked->answered ? " (answered)" : "");
            for (size_t j = 0; j < asked->count && j < 12; j++)
                print_error(" %.*s", (int)(asked->args[j].len < 60 ? asked->args[j].len : 60),
                            asked->args[j].data);
            print_error("\n");
        }
}

/* The same; the test fails when there is none. */
static inline struct asked *asked_next(const char *name, const char *key_ending)
{
    struct asked *asked = asked_find(name, key_ending);

    if (!asked) {
        print_error("nobody asked %s …%s\n", name, key_ending);
        asked_print();
    }
    assert_non_null(asked);
    return asked;
}

static inline void assert_arg(const struct asked *asked, size_t i, const char *wanted)
{
    assert_slice(asked_arg(asked, i), wanted);
}

/* Commands that the test has not answered. */
static inline size_t asked_count(void)
{
    size_t count = 0;

    for (size_t c = 0; c < server.accepted; c++)
        for (size_t i = 0; i < server.served[c].count; i++)
            count += !server.served[c].row[i]->answered;
    return count;
}

/* The next message of PUBLISH, in order; NULL when there is none. */
static inline const struct published *published_next(void)
{
    return server.published_taken < server.published_count
               ? &server.published[server.published_taken++]
               : NULL;
}

/* ---- commands that are answered at once ---- */

static inline char *text_of(struct slice text)
{
    char *copy = malloc(text.len + 1);

    assert_non_null(copy);
    if (text.len)
        memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    return copy;
}

static inline void note_published(const struct asked *asked)
{
    assert_true(server.published_count < PUBLISHED_MAX);
    server.published[server.published_count++] =
        (struct published){ .channel = text_of(asked_arg(asked, 1)),
                            .payload = text_of(asked_arg(asked, 2)),
                            .payload_len = asked_arg(asked, 2).len };
}

static inline void answer_sha(struct asked *asked)
{
    struct slice text = asked_arg(asked, 2);
    uint8_t digest[20];
    char hex[41];

    sha1(text.data, text.len, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    answer(asked, "s", hex);
}

static inline void answer_by_itself(struct served *served, struct asked *asked)
{
    char *text = text_of(asked_arg(asked, 0)), *first = text_of(asked_arg(asked, 1));

    if (strcmp(text, "PUBLISH") == 0)
        note_published(asked);
    if (strcmp(text, "PING") == 0)
        answer(asked, "+", "PONG");
    else if (strcmp(text, "AUTH") == 0 || strcmp(text, "SELECT") == 0)
        answer(asked, "+", "OK");
    else if (strcmp(text, "EXPIRE") == 0 && strstr(first, "probe"))
        answer(asked, "i", 0LL);
    else if (strcmp(text, "SUBSCRIBE") == 0)
        answer(asked, "[ssi]", "subscribe", first, 1LL);
    else if (strcmp(text, "INFO") == 0)
        answer(asked, "s", "# Memory\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n");
    else if (strcmp(text, "SCRIPT") == 0)
        answer_sha(asked);
    else if (strcmp(text, "PUBLISH") == 0)
        answer(asked, "i", (long long)server.hear_count);
    else if (is_asked(asked, "EVALSHA", "epoch"))
        answer(asked, "[si]", server.epoch, ++server.tick);
    else if (is_asked(asked, "EVALSHA", "{#all}:box"))
        answer(asked, "[isss]", 0LL, "", "0-0", "0-0");
    else if (is_asked(asked, "XRANGE", "{#all}:box"))
        answer(asked, "[is]", 0LL, "");
    else if (is_asked(asked, "HDEL", "{#all}:at"))
        answer(asked, "i", 1LL);
    served->subscribes |= strcmp(text, "SUBSCRIBE") == 0;
    free(text);
    free(first);
}

/* ---- connections ---- */

static inline void asked_free(struct asked *asked)
{
    buf_fini(&asked->answer);
    free(asked->bytes);
    free(asked);
}

static inline void served_close(struct served *served)
{
    if (served->fd >= 0)
        close(served->fd);
    served->fd = -1;
    for (size_t i = 0; i < served->count; i++)
        asked_free(served->row[i]);
    served->count = 0;
    buf_fini(&served->in);
}

static inline void server_accept(void)
{
    int fd;

    while (server.listener >= 0 &&
           (fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct served *served = NULL;
        for (size_t i = 0; i < SERVED_MAX && !served; i++)
            if (i == server.accepted || server.served[i].fd < 0)
                served = &server.served[i];
        assert_non_null(served);
        if (served == &server.served[server.accepted])
            server.accepted++;
        *served = (struct served){ .fd = fd };
        buf_init(&served->in, 256 << 20);
    }
}

/* Reads "*3\r\n" or "$5\r\n" at *at; false when the line has not come whole. */
static inline bool take_number(const struct buf *in, size_t *at, char sign, size_t *number)
{
    const char *end = memmem(in->data + *at, in->len - *at, "\r\n", 2);

    if (!end)
        return false;
    assert_int_equal(in->data[*at], sign);
    *number = strtoul(in->data + *at + 1, NULL, 10);
    *at = (size_t)(end - in->data) + 2;
    return true;
}

/* Takes the first command off the input; NULL when none has come whole. */
static inline struct asked *take_command(struct served *served)
{
    struct buf *in = &served->in;
    struct asked *asked = calloc(1, sizeof *asked);
    size_t at = 0, count, len;

    assert_non_null(asked);
    if (in->len == 0 || !take_number(in, &at, '*', &count)) {
        free(asked);
        return NULL;
    }
    assert_in_range(count, 1, ASKED_ARGS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (at >= in->len || !take_number(in, &at, '$', &len) || in->len - at < len + 2) {
            free(asked);
            return NULL;
        }
        asked->args[i] = slice_make(in->data + at, len);
        at += len + 2;
    }
    asked->count = count;
    asked->bytes = text_of(slice_make(in->data, at));
    for (size_t i = 0; i < count; i++)
        asked->args[i].data = asked->bytes + (asked->args[i].data - in->data);
    buf_init(&asked->answer, 256 << 20);
    buf_drop(in, at);
    return asked;
}

static inline void served_read(struct served *served)
{
    struct asked *asked;
    ssize_t n;

    do {
        assert_int_equal(buf_reserve(&served->in, 64 * 1024), OK);
        n = recv(served->fd, served->in.data + served->in.len, 64 * 1024, 0);
        if (n > 0)
            served->in.len += (size_t)n;
    } while (n > 0);
    while ((asked = take_command(served))) {
        assert_true(served->count < ASKED_MAX);
        served->row[served->count++] = asked;
        if (!server.by_hand)
            answer_by_itself(served, asked);
    }
    if (n == 0)
        served_close(served);
}

static inline void served_say(const struct served *served, const void *data, size_t len)
{
    assert_int_equal(send(served->fd, data, len, MSG_NOSIGNAL), len);
}

static inline void served_answer(struct served *served)
{
    size_t done = 0;

    for (; done < served->count && served->row[done]->answered; done++) {
        served_say(served, served->row[done]->answer.data, served->row[done]->answer.len);
        asked_free(served->row[done]);
    }
    memmove(served->row, served->row + done, (served->count - done) * sizeof(struct asked *));
    served->count -= done;
}

/* A loop hook: the server's part of the turn. */
static inline void server_turn(void *arg)
{
    (void)arg;
    server_accept();
    for (size_t i = 0; i < server.accepted && !server.silent; i++)
        if (server.served[i].fd >= 0)
            served_read(&server.served[i]);
    for (size_t i = 0; i < server.accepted; i++)
        if (server.served[i].fd >= 0)
            served_answer(&server.served[i]);
}

/* The connection that subscribes, or the connection that does not. */
static inline struct served *served_find(bool subscribes)
{
    for (size_t i = 0; i < server.accepted; i++)
        if (server.served[i].fd >= 0 && server.served[i].subscribes == subscribes)
            return &server.served[i];
    assert_true(false);
    return NULL;
}

/* A message for the subscriber, as from another client's PUBLISH. */
static inline void server_publish(const char *channel, struct slice payload)
{
    struct served *served = served_find(true);
    struct buf text;

    buf_init(&text, 1 << 20);
    buf_addf(&text, "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(channel), channel,
             payload.len);
    buf_add_slice(&text, payload);
    buf_add_text(&text, "\r\n");
    served_say(served, text.data, text.len);
    buf_fini(&text);
}

/* ---- life ---- */

static inline void server_listen(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    memcpy(address.sun_path, server.path, strlen(server.path));
    server.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(server.listener >= 0);
    assert_int_equal(bind(server.listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server.listener, 8), 0);
}

/* Every connection breaks, and nobody listens until server_listen. */
static inline void server_die(void)
{
    if (server.listener >= 0) {
        close(server.listener);
        unlink(server.path);
    }
    server.listener = -1;
    for (size_t i = 0; i < server.accepted; i++)
        served_close(&server.served[i]);
    server.accepted = 0;
}

static inline void server_open(void)
{
    server = (struct server){ .listener = -1, .hear_count = 1, .epoch = SERVER_EPOCH };
    snprintf(server.folder, sizeof server.folder, "/tmp/postoffice-redis.XXXXXX");
    assert_non_null(mkdtemp(server.folder));
    snprintf(server.path, sizeof server.path, "%s/redis.sock", server.folder);
    server_listen();
}

static inline void server_close(void)
{
    server_die();
    rmdir(server.folder);
    for (size_t i = 0; i < server.published_count; i++) {
        free(server.published[i].channel);
        free(server.published[i].payload);
    }
}

#endif
