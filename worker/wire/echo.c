/*
 * `echo-test`: a bare echo of messages by the very codec and connection code of the server, so that
 * any outside WebSocket suite or load generator can drive it. Loopback only, no token, no Redis;
 * never reachable in normal operation.
 */
#include "worker/worker.h"

#include "common/arena.h"
#include "common/log.h"
#include "worker/wire/conn.h"
#include "worker/wire/http.h"
#include "worker/wire/outbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ECHO_BYTES_MAX = 32 << 20,
    ECHO_HEAD_MAX = 16 * 1024,
    ECHO_TICK_MS = 250,
};

/* Until its upgrade a guest collects the request's head; then conn has the socket. */
struct guest {
    struct conn conn; /* first */
    struct loop_watch watch;
    struct buf head;
    struct http_parser parser;
    int fd;
};

static struct loop *loop;
static struct conn_host host;
static struct loop_watch listener;
static struct loop_timer tick;
static volatile sig_atomic_t stop_flag;

static void on_stop(int number)
{
    (void)number;
    stop_flag = 1;
}

static void on_message(struct conn *conn, enum ws_opcode opcode, struct slice payload)
{
    if (conn_answer(conn, opcode, payload))
        conn_close_now(conn, WS_CLOSE_INTERNAL, SLICE("out of memory"));
}

static void on_nothing(struct conn *conn)
{
    (void)conn;
}

static void on_gone(struct conn *conn)
{
    free(conn);
}

static void send_away(struct guest *guest)
{
    loop_unwatch(&guest->watch);
    close(guest->fd);
    buf_fini(&guest->head);
    free(guest);
}

static void refuse(struct guest *guest, const struct http_fault *fault)
{
    struct buf answer;

    buf_init(&answer, 4096);
    http_answer_refusal(&answer, &(struct http_refusal){ .status = fault->status,
                                                         .code = fault->code,
                                                         .message = fault->message });
    if (send(guest->fd, answer.data, answer.len, MSG_NOSIGNAL) < 0)
        log_debug("echo_refusal_not_sent", "errno=%d", errno);
    buf_fini(&answer);
    send_away(guest);
}

static void upgrade(struct guest *guest, size_t head_len)
{
    struct http_upgrade request = { 0 };
    struct http_fault fault;
    struct arena arena;
    struct buf answer;

    arena_init(&arena, 4096);
    if (http_check_upgrade(&guest->parser, guest->head.data, true, &arena, &request, &fault)) {
        refuse(guest, &fault);
        arena_fini(&arena);
        return;
    }
    buf_init(&answer, 1024);
    http_answer_upgrade(&answer, request.key, request.offers_v1 ? "postoffice.v1" : NULL);
    loop_unwatch(&guest->watch);
    if (conn_start(&guest->conn, &host, guest->fd)) {
        buf_fini(&guest->head);
        free(guest);
    } else {
        struct buf head = guest->head;
        guest->head = (struct buf){ 0 };
        conn_send_raw(&guest->conn, buf_slice(&answer));
        conn_feed(&guest->conn, slice_make(head.data + head_len, head.len - head_len));
        buf_fini(&head);
    }
    buf_fini(&answer);
    arena_fini(&arena);
}

static void on_head(void *arg, int fd, unsigned events)
{
    struct guest *guest = arg;
    struct http_fault fault;
    size_t head_len;
    ssize_t n;

    (void)events;
    if (buf_reserve(&guest->head, 1024)) {
        send_away(guest);
        return;
    }
    n = recv(fd, guest->head.data + guest->head.len, 1024, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        send_away(guest);
        return;
    }
    guest->head.len += (size_t)n;
    switch (http_parse(&guest->parser, guest->head.data, guest->head.len, &head_len, &fault)) {
    case HTTP_MORE:
        break;
    case HTTP_WHOLE:
        upgrade(guest, head_len);
        break;
    case HTTP_BROKEN:
        refuse(guest, &fault);
        break;
    }
}

static void on_acceptable(void *arg, int listen_fd, unsigned events)
{
    struct guest *guest;
    int on = 1, fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)arg;
    (void)events;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    guest = calloc(1, sizeof *guest);
    if (!guest) {
        close(fd);
        return;
    }
    guest->fd = fd;
    buf_init(&guest->head, ECHO_HEAD_MAX + 2048);
    http_parser_init(&guest->parser, ECHO_HEAD_MAX);
    if (loop_watch(loop, &guest->watch, fd, LOOP_READ, on_head, guest))
        send_away(guest);
}

static void on_tick(void *arg)
{
    (void)arg;
    wheel_run(&host.wheel, loop_now_ms(loop));
    if (stop_flag)
        loop_stop(loop);
    loop_timer_set(&tick, ECHO_TICK_MS);
}

static void on_turn_end(void *arg)
{
    (void)arg;
    conn_host_flush(&host);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int worker_echo_test(uint16_t port)
{
    static const struct conn_calls calls = {
        .message = on_message, .deadline = on_nothing, .closing = on_nothing, .gone = on_gone
    };
    struct sigaction action = { .sa_handler = on_stop };
    int fd = listen_on(port);

    if (fd < 0) {
        fprintf(stderr, "echo-test: cannot listen on 127.0.0.1:%u: %s\n", port, strerror(errno));
        return 1;
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    loop = loop_new();
    if (!loop || loop_watch(loop, &listener, fd, LOOP_READ, on_acceptable, NULL)) {
        close(fd);
        return 1;
    }
    conn_host_init(&host, loop, NULL, &calls, NULL);
    host.message_bytes_max = ECHO_BYTES_MAX;
    host.queue_bytes_max = host.answer_bytes_max = 4 << 20;
    host.ping_ms = host.pong_ms = host.slow_ms = 60000;
    host.close_ms = 5000;
    host.answers_at_once = true;
    loop_add_hook(loop, on_turn_end, NULL);
    loop_timer_init(loop, &tick, on_tick, NULL);
    on_tick(NULL);
    printf("echo-test: ws://127.0.0.1:%u/\n", port);
    fflush(stdout);
    loop_run(loop);
    loop_unwatch(&listener);
    close(fd);
    return 0;
}
