/*
 * What the load programs of several benchmarks share: blocking clients with a token of their own.
 *
 * Whatever is not as it should be ends the program: a benchmark that goes on after a failure
 * measures something else.
 */
#ifndef TESTS_BENCH_CLIENT_H
#define TESTS_BENCH_CLIENT_H

#include "common/base64.h"
#include "common/buf.h"
#include "tests/unit/tls_fixture.h"
#include "worker/token/token.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SECRET_MAX = 256, ANSWER_MAX = 8192 };

static bool offers_deflate; /* the server may compress even its welcome */
static uint8_t secret[SECRET_MAX];
static size_t secret_len;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            errno ? strerror(errno) : "not as it should be");
    exit(1);
}

/* The key of the tokens: a file with base64. */
static void read_secret(const char *path)
{
    char text[2 * SECRET_MAX];
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(text, 1, sizeof text, file) : 0;

    if (!file)
        fail(path);
    fclose(file);
    while (len && text[len - 1] == '\n')
        len--;
    if (!base64_decode(slice_make(text, len), secret, sizeof secret, &secret_len) ||
        secret_len == 0)
        fail(path);
}

/* ---- bytes, plain or over TLS ---- */

enum { CLIENT_FDS_MAX = 1 << 16 };
static SSL *secured[CLIENT_FDS_MAX]; /* by descriptor; NULL: plain */

static ssize_t client_send(int fd, const void *data, size_t len)
{
    return secured[fd] ? SSL_write(secured[fd], data, (int)len) : send(fd, data, len, MSG_NOSIGNAL);
}

static ssize_t client_recv(int fd, void *to, size_t size)
{
    return secured[fd] ? SSL_read(secured[fd], to, (int)size) : recv(fd, to, size, 0);
}

static inline void client_secure(int fd)
{
    static SSL_CTX *context;

    if (!context) {
        context = client_context();
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    }
    if (fd >= CLIENT_FDS_MAX || !(secured[fd] = SSL_new(context)) || !SSL_set_fd(secured[fd], fd) ||
        SSL_connect(secured[fd]) != 1)
        fail("TLS handshake");
}

static int connect_from(const char *source, uint16_t port)
{
    struct sockaddr_in from = { .sin_family = AF_INET };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || inet_pton(AF_INET, source, &from.sin_addr) != 1 ||
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&from, sizeof from) ||
        connect(fd, (struct sockaddr *)&to, sizeof to))
        fail("connect");
    return fd;
}

static void send_request(int fd, const char *address)
{
    struct token_request what = { .format = TOKEN_JWT_HS256,
                                  .kid = "outside",
                                  .sub = address,
                                  .now_s = time(NULL),
                                  .ttl_s = 3600 };
    struct buf request;

    buf_init(&request, 4096);
    if (buf_addf(&request,
                 "GET /ws?clientID=%s&device=web HTTP/1.1\r\nHost: localhost\r\n"
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Version: 13\r\n%sAuthorization: Bearer ",
                 address,
                 offers_deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "") ||
        token_issue(&what, secret, secret_len, &request) || buf_addf(&request, "\r\n\r\n"))
        fail("request");
    if (client_send(fd, request.data, request.len) != (ssize_t)request.len)
        fail("send");
    buf_fini(&request);
}

/* How long the frame of less than 64 KiB at `at` is, head and all; 0 while it is not whole. */
static size_t frame_len(const uint8_t *data, size_t len, size_t at)
{
    size_t whole;

    if (len < at + 2 || ((data[at + 1] & 0x7f) == 126 && len < at + 4))
        return 0;
    whole = (data[at + 1] & 0x7f) == 126 ? 4u + ((size_t)data[at + 2] << 8 | data[at + 3])
                                         : 2u + (data[at + 1] & 0x7f);
    return len >= at + whole ? whole : 0;
}

/* The answer and the two frames behind it: `welcome`, and `replayed` of an empty mailbox. Returns
 * their length, 0 while they are not whole. */
static size_t whole_greeting(const uint8_t *data, size_t len)
{
    const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);
    size_t at = end ? (size_t)(end - data) + 4 : 0, welcome, replayed;

    if (len >= 13 && memcmp(data, "HTTP/1.1 101 ", 13) != 0) {
        fprintf(stderr, "%s: %.*s\n", program_invocation_short_name, (int)len, (const char *)data);
        exit(1);
    }
    if (!end || !(welcome = frame_len(data, len, at)))
        return 0;
    replayed = frame_len(data, len, at + welcome);
    return replayed ? at + welcome + replayed : 0;
}

static void await_welcome(int fd)
{
    uint8_t answer[ANSWER_MAX];
    size_t len = 0, whole;

    do {
        ssize_t n = client_recv(fd, answer + len, sizeof answer - len);
        if (n <= 0)
            fail("handshake");
        len += (size_t)n;
    } while (!(whole = whole_greeting(answer, len)));
    if (whole != len || (offers_deflate ? !memmem(answer, len, "permessage-deflate", 18)
                                        : !memmem(answer, len, "welcome", 7) ||
                                              !memmem(answer, len, "replayed", 8))) {
        errno = 0;
        fail("welcome");
    }
}

static inline void watch(int epoll_fd, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

#endif
