#include "worker/wire/echo.h"

#include "common/arena.h"
#include "common/log.h"
#include "worker/wire/conn.h"
#include "worker/wire/http.h"
#include "worker/wire/outbox.h"
#include "worker/wire/stream.h"

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

/* The server of one echo-test: a loop, a listener and what its connections share. */
struct echo {
    struct loop *loop;
    struct conn_host host;
    struct loop_watch listener;
    struct loop_timer tick;
    struct tls_server *tls; /* NULL: plain */
};

/* A client. Until the upgrade the guest collects the request's head; then conn has the socket. */
struct guest {
    struct conn conn; /* first: a conn's callbacks get the guest by a cast */
    struct echo *echo;
    struct loop_watch watch;
    struct buf head;
    struct http_parser parser;
    struct tls *tls; /* NULL: plain */
    bool secure;     /* the handshake of TLS is over */
    int fd;
};

/* A signal handler has no argument: only a variable of the file can take its news. */
static volatile sig_atomic_t stop_flag;

static void on_stop(int number)
{
    (void)number;
    stop_flag = 1;
}

static void on_echo_message(struct conn *conn, enum ws_opcode opcode, struct slice payload)
{
    if (conn_answer(conn, opcode, payload))
        conn_close_now(conn, WS_CLOSE_INTERNAL, SLICE("out of memory"));
}

static void on_ignored(struct conn *conn)
{
    (void)conn;
}

static void on_guest_gone(struct conn *conn)
{
    free(conn);
}

static void send_away(struct guest *guest)
{
    loop_unwatch(&guest->watch);
    stream_close(guest->fd, guest->tls);
    buf_fini(&guest->head);
    free(guest);
}

static void refuse_guest(struct guest *guest, const struct http_fault *fault)
{
    struct buf answer;

    buf_init(&answer, 4096);
    http_answer_refusal(
        &answer,
        &(struct http_refusal){
            .status = fault->status, .code = fault->code, .message = fault->message },
        http_asks_head(&guest->parser, guest->head.data), loop_unix_s(guest->echo->loop));
    if (stream_write(guest->fd, guest->tls, &(struct iovec){ answer.data, answer.len }, 1) < 0)
        log_debug("echo_refusal_not_sent", "errno=%d", errno);
    buf_fini(&answer);
    send_away(guest);
}

static void upgrade(struct guest *guest, size_t head_len)
{
    struct http_upgrade request = { 0 };
    char extensions[DEFLATE_ANSWER_MAX];
    struct deflate_terms deflate;
    struct http_fault fault;
    struct arena arena;
    struct buf answer;

    arena_init(&arena, 4096);
    if (http_check_upgrade(&guest->parser, guest->head.data, NULL, &arena, &request, &fault)) {
        refuse_guest(guest, &fault);
        arena_fini(&arena);
        return;
    }
    buf_init(&answer, 1024);
    deflate = deflate_host_choose(&guest->echo->host.deflate, request.extensions);
    http_answer_upgrade(&answer, request.key, request.offers_v1 ? "postoffice.v1" : NULL,
                        deflate_answer(&deflate, extensions));
    loop_unwatch(&guest->watch);
    if (conn_start(&guest->conn, &guest->echo->host, guest->fd, guest->tls)) {
        buf_fini(&guest->head);
        free(guest);
    } else {
        struct buf head = guest->head;
        guest->head = (struct buf){ 0 };
        if (conn_send_raw(&guest->conn, buf_slice(&answer)) ||
            conn_compress(&guest->conn, &deflate))
            conn_abort_no_memory(&guest->conn);
        conn_feed(&guest->conn, slice_make(head.data + head_len, head.len - head_len));
        buf_fini(&head);
    }
    buf_fini(&answer);
    arena_fini(&arena);
}

/* Does a step of the handshake. True: it is over. */
static bool secure_guest(struct guest *guest)
{
    switch (tls_handshake(guest->tls, true)) {
    case TLS_READY:
        return guest->secure = true;
    case TLS_WANTS_WRITE:
        if (loop_rewatch(guest->echo->loop, &guest->watch, LOOP_READ | LOOP_WRITE) == OK)
            return false;
        break;
    case TLS_WANTS_READ:
    case TLS_WANTS_LEAVE:
        return false;
    case TLS_FAILED:
        break;
    }
    send_away(guest);
    return false;
}

static void on_head(void *arg, int fd, unsigned events)
{
    struct guest *guest = arg;
    struct http_fault fault;
    size_t head_len;
    ssize_t n;

    (void)events;
    if (guest->tls && !guest->secure && !secure_guest(guest))
        return;
    if (buf_reserve(&guest->head, 1024)) {
        send_away(guest);
        return;
    }
    n = stream_read(fd, guest->tls, guest->head.data + guest->head.len, 1024);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        send_away(guest);
        return;
    }
    guest->head.len += (size_t)n;
    switch (http_parse(&guest->parser, guest->head.data, guest->head.len, &head_len, &fault)) {
    case HTTP_MORE:
        if (guest->tls && tls_unread(guest->tls))
            loop_read_again(&guest->watch);
        break;
    case HTTP_WHOLE:
        upgrade(guest, head_len);
        break;
    case HTTP_BROKEN:
        refuse_guest(guest, &fault);
        break;
    }
}

static void on_guest_waiting(void *arg, int listen_fd, unsigned events)
{
    struct echo *echo = arg;
    struct guest *guest;
    int on = 1, fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    guest = calloc(1, sizeof *guest);
    if (!guest) {
        close(fd);
        return;
    }
    guest->echo = echo;
    guest->fd = fd;
    buf_init(&guest->head, ECHO_HEAD_MAX + 2048);
    http_parser_init(&guest->parser, ECHO_HEAD_MAX);
    guest->tls = echo->tls ? tls_accept(echo->tls, fd) : NULL;
    if (echo->tls && !guest->tls) {
        close(fd);
        free(guest);
        return;
    }
    if (loop_watch(echo->loop, &guest->watch, fd, LOOP_READ, on_head, guest))
        send_away(guest);
}

static void on_echo_tick(void *arg)
{
    struct echo *echo = arg;

    wheel_run(&echo->host.wheel, loop_now_ms(echo->loop));
    if (stop_flag)
        loop_stop(echo->loop);
    loop_timer_set(&echo->tick, ECHO_TICK_MS);
}

static void on_echo_turn_end(void *arg)
{
    struct echo *echo = arg;

    conn_host_flush(&echo->host);
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

/* Every message is compressed, so that a test suite sees compression at all lengths. */
static void start_deflate(struct echo *echo, enum echo_deflate deflate)
{
    deflate_host_set(&echo->host.deflate, &(struct deflate_settings){
                                              .enabled = deflate != ECHO_PLAIN,
                                              .takeover = deflate == ECHO_TAKEOVER,
                                              .level = 1,
                                              .mem_level = 8,
                                              .window_bits = DEFLATE_BITS_MAX,
                                              .takeover_max = UINT32_MAX,
                                          });
}

static void start_host(struct echo *echo)
{
    static const struct conn_calls calls = { .message = on_echo_message,
                                             .deadline = on_ignored,
                                             .closing = on_ignored,
                                             .gone = on_guest_gone };
    struct conn_host *host = &echo->host;

    conn_host_init(host, echo->loop, NULL, &calls, NULL);
    host->message_bytes_max = ECHO_BYTES_MAX;
    host->queue_bytes_max = host->answer_bytes_max = 4 << 20;
    host->ping_ms = host->pong_ms = host->slow_ms = 60000;
    host->close_ms = 5000;
    host->answers_at_once = true;
    loop_add_hook(echo->loop, on_echo_turn_end, echo);
    loop_timer_init(echo->loop, &echo->tick, on_echo_tick, echo);
    on_echo_tick(echo);
}

int echo_run(uint16_t port, enum echo_deflate deflate, const struct tls_pair *pair)
{
    /* One a process: connections that are open at the end stay reachable. */
    static struct echo echo;
    struct sigaction action = { .sa_handler = on_stop };
    int fd = listen_on(port);

    if (fd < 0) {
        fprintf(stderr, "echo-test: cannot listen on 127.0.0.1:%u: %s\n", port, strerror(errno));
        return 1;
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    echo.loop = loop_new();
    echo.tls = pair ? tls_server_new(pair, 1, NULL) : NULL;
    if (!echo.loop || (pair && !echo.tls) ||
        loop_watch(echo.loop, &echo.listener, fd, LOOP_READ, on_guest_waiting, &echo)) {
        close(fd);
        return 1;
    }
    start_host(&echo);
    start_deflate(&echo, deflate);
    printf("echo-test: %s://127.0.0.1:%u/\n", pair ? "wss" : "ws", port);
    fflush(stdout);
    loop_run(echo.loop);
    loop_unwatch(&echo.listener);
    close(fd);
    return 0;
}
