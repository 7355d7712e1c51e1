/*
 * What an echo costs `websocket-server echo-test`, beside the least it could cost: a bare epoll
 * loop, written here, that does only what an echo must. `make bench-echo`.
 *
 * The one idea: both are driven by the same generator in the same run, turn about, so that what
 * else the machine does falls on both; what counts is CPU time a message of the server's process,
 * and the median of the rounds' ratios. The server has core 0, the generator core 1.
 *
 * The loop (`the floor`) is honest: it is no server (no limits, no UTF-8 check, no fragments, no
 * close handshake, and what the socket does not take at once is an error), but what it does, it
 * does well.
 *
 * A second table sets compression (`echo-test --deflate`) beside `echo-test` with the same texts,
 * which are words: one message in, inflated, compressed again, and out. A third sets `echo-test`
 * over TLS (TLS 1.3, AES-128-GCM) beside the plain one.
 */
#include "tests/unit/tls_fixture.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum {
    CONNECTIONS = 100,
    ROUNDS = 7,
    ROUNDS_MAX = 101,
    WARM_MS = 200,
    MEASURE_MS = 1500,  /* unless told otherwise */
    SILENCE_MS = 10000, /* a server that is quiet for longer has lost something */
    EVENTS_MAX = 256,
    BUFFER_SIZE = 64 * 1024,
    SERVER_CORE = 0,
    LOAD_CORE = 1,
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_echo: %s: %s\n", what, errno ? strerror(errno) : "not as it should be");
    exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now))
        fail("clock_gettime");
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pin(size_t core)
{
    cpu_set_t cores;

    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    if (sched_setaffinity(0, sizeof cores, &cores))
        fprintf(stderr, "bench_echo: not pinned to core %zu: %s\n", core, strerror(errno));
}

static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) || listen(fd, 1024) ||
        getsockname(fd, (struct sockaddr *)&at, &len))
        fail("listen");
    *port = ntohs(at.sin_port);
    return fd;
}

/* ---- bytes, plain or over TLS ---- */

enum { FDS_MAX = 1024 };
static SSL *secured[FDS_MAX]; /* by descriptor; NULL: plain */
static SSL_CTX *client_tls;

static bool send_all(int fd, const void *data, size_t len)
{
    if (!secured[fd])
        return send(fd, data, len, 0) == (ssize_t)len;
    return SSL_write(secured[fd], data, (int)len) == (int)len;
}

static ssize_t receive(int fd, void *to, size_t size)
{
    return secured[fd] ? SSL_read(secured[fd], to, (int)size) : recv(fd, to, size, 0);
}

/* Bytes that TLS has and the socket has not any more. */
static bool more_inside(int fd)
{
    return secured[fd] && SSL_pending(secured[fd]) > 0;
}

static void secure(int fd)
{
    secured[fd] = SSL_new(client_tls);
    if (!secured[fd] || !SSL_set_fd(secured[fd], fd) || SSL_connect(secured[fd]) != 1)
        fail("TLS handshake");
}

static void hang_up(int fd)
{
    SSL_free(secured[fd]);
    secured[fd] = NULL;
    close(fd);
}

static void set_nodelay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void watch(int epoll_fd, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

/* ---- the floor ---- */

/* What a frame left over, by descriptor. */
struct floor_conn {
    uint8_t *rest;
    size_t rest_len;
    bool upgraded;
};

enum { FLOOR_FDS_MAX = 4096 };

static const char floor_101[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/* The frames in `data`, unmasked, into `out`. Returns how many bytes were used up. */
static size_t floor_frames(const uint8_t *data, size_t len, uint8_t *out, size_t *out_len)
{
    size_t at = 0, to = 0;

    while (len - at >= 6) {
        const uint8_t *frame = data + at;
        size_t payload_len = frame[1] & 0x7f, head = 2, i = 0;
        uint32_t mask;
        uint64_t mask8, word;

        if (payload_len == 126) {
            if (len - at < 8)
                break;
            payload_len = (size_t)frame[2] << 8 | frame[3];
            head = 4;
        }
        if (len - at < head + 4 + payload_len)
            break;
        memcpy(&mask, frame + head, 4);
        mask8 = (uint64_t)mask << 32 | mask;
        memcpy(out + to, frame, head);
        out[to + 1] &= 0x7f;
        to += head;
        frame += head + 4;
        for (; i + 8 <= payload_len; i += 8) {
            memcpy(&word, frame + i, 8);
            word ^= mask8;
            memcpy(out + to + i, &word, 8);
        }
        for (; i < payload_len; i++)
            out[to + i] = frame[i] ^ (uint8_t)(mask >> 8 * (i & 3)); /* little endian */
        to += payload_len;
        at += head + 4 + payload_len;
    }
    *out_len = to;
    return at;
}

/* One read, one write. False: the peer has gone. */
static bool floor_serve(struct floor_conn *conn, int fd)
{
    static uint8_t in[2 * BUFFER_SIZE], out[2 * BUFFER_SIZE];
    size_t len = conn->rest_len, used, out_len;
    ssize_t n;

    if (len) {
        memcpy(in, conn->rest, len);
        free(conn->rest);
        *conn = (struct floor_conn){ .upgraded = true };
    }
    n = recv(fd, in + len, BUFFER_SIZE, 0);
    if (n <= 0)
        return false;
    if (!conn->upgraded) { /* the generator sends its request whole, and its frames after the answer
                            */
        conn->upgraded = true;
        return send(fd, floor_101, sizeof floor_101 - 1, MSG_NOSIGNAL) == sizeof floor_101 - 1;
    }
    len += (size_t)n;
    used = floor_frames(in, len, out, &out_len);
    if (used < len) {
        conn->rest_len = len - used;
        conn->rest = malloc(conn->rest_len);
        if (!conn->rest)
            return false;
        memcpy(conn->rest, in + used, conn->rest_len);
    }
    return out_len == 0 || send(fd, out, out_len, MSG_NOSIGNAL) == (ssize_t)out_len;
}

static _Noreturn void floor_run(int listen_fd)
{
    static struct floor_conn conns[FLOOR_FDS_MAX];
    static struct epoll_event events[EVENTS_MAX];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    watch(epoll_fd, listen_fd);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listen_fd) {
                fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0 || fd >= FLOOR_FDS_MAX)
                    fail("accept");
                set_nodelay(fd);
                watch(epoll_fd, fd);
            } else if (!floor_serve(&conns[fd], fd)) {
                free(conns[fd].rest);
                conns[fd] = (struct floor_conn){ 0 };
                close(fd);
            }
        }
    }
}

/* ---- the servers ---- */

struct server {
    const char *name;
    bool deflate;
    pid_t pid;
    uint16_t port;
    bool secure;
    clockid_t cpu;
};

static pid_t fork_pinned(void)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(SERVER_CORE);
    }
    return pid;
}

static void server_started(struct server *server, pid_t pid)
{
    server->pid = pid;
    errno = clock_getcpuclockid(pid, &server->cpu);
    if (errno)
        fail("clock_getcpuclockid");
}

static void start_floor(struct server *server)
{
    int fd = listen_anywhere(&server->port);
    pid_t pid = fork_pinned();

    if (pid == 0)
        floor_run(fd);
    close(fd);
    server_started(server, pid);
}

/* Writes a certificate and its key into a file of its own; returns the path. */
static const char *write_pair(void)
{
    static char path[] = "/tmp/bench-echo-XXXXXX";
    struct made_pair made;
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

    pair_make(&made, "localhost", 1);
    if (!file || fprintf(file, "%s%s", made.cert, made.key) < 0 || fclose(file))
        fail(path);
    pair_fini(&made);
    client_tls = client_context();
    return path;
}

static void start_product(struct server *server, const char *binary, const char *pem)
{
    char port[8];
    pid_t pid;

    close(listen_anywhere(&server->port)); /* a port that is free just now */
    snprintf(port, sizeof port, "%u", server->port);
    pid = fork_pinned();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout))
            fail("/dev/null");
        execl(binary, binary, "echo-test", "--port", port,
              server->deflate ? "--deflate"
              : pem           ? "--tls"
                              : NULL,
              pem, (char *)NULL);
        fail(binary);
    }
    server_started(server, pid);
}

/* ---- the generator ---- */

struct load_case {
    unsigned payload_len, in_flight;
};

/* Requests and answers one behind the other, so that any number of them is one send or one memcmp.
 */
struct load {
    uint8_t requests[BUFFER_SIZE], answers[2 * BUFFER_SIZE];
    size_t request_len, answer_len;
    int epoll_fd, fds[CONNECTIONS];
    size_t part[1024]; /* by descriptor: bytes of an answer that is not whole */
    uint64_t messages;
};

/* The text of every message: words in no order. */
static void fill_text(uint8_t *text, unsigned len)
{
    static const char *const words[] = { "time ",  "person ", "year ", "way ",  "day ",   "thing ",
                                         "world ", "life ",   "hand ", "part ", "child ", "eye ",
                                         "woman ", "place ",  "work ", "week " };
    uint32_t random = 1;

    for (unsigned i = 0; i < len;) {
        const char *word;
        random = random * 1664525 + 1013904223;
        for (word = words[random >> 28]; *word && i < len; word++)
            text[i++] = (uint8_t)*word;
    }
}

/* Compresses as the server does, so that the answers can be compared byte by byte. Returns the
 * length. */
static unsigned compress_text(uint8_t *to, size_t room, const uint8_t *text, unsigned len)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)text, .avail_in = len };

    z.next_out = to;
    z.avail_out = (uInt)room;
    if (deflateInit2(&z, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflate(&z, Z_SYNC_FLUSH) != Z_OK || z.avail_out == 0)
        fail("deflate");
    deflateEnd(&z);
    return (unsigned)(room - z.avail_out) - 4; /* RFC 7692 7.2.1 */
}

static size_t put_frame(uint8_t *to, const uint8_t *payload, unsigned payload_len, uint8_t first,
                        bool masked)
{
    static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    size_t head = payload_len < 126 ? 2 : 4;
    uint8_t mask_bit = masked ? 0x80 : 0;

    to[0] = first;
    if (head == 2) {
        to[1] = (uint8_t)(mask_bit | payload_len);
    } else {
        to[1] = mask_bit | 126;
        to[2] = (uint8_t)(payload_len >> 8);
        to[3] = (uint8_t)payload_len;
    }
    if (masked) {
        memcpy(to + head, mask, 4);
        head += 4;
    }
    for (unsigned i = 0; i < payload_len; i++)
        to[head + i] = payload[i] ^ (masked ? mask[i & 3] : 0);
    return head + payload_len;
}

static int load_connect(const struct server *server)
{
    static const char request[] = /* whether compression is agreed on is the server's choice */
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(server->port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[1024];
    size_t len = 0;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || fd >= FDS_MAX || connect(fd, (struct sockaddr *)&to, sizeof to))
        return -1;
    set_nodelay(fd);
    if (server->secure)
        secure(fd);
    if (!send_all(fd, request, sizeof request - 1))
        fail("request");
    do {
        ssize_t n = receive(fd, answer + len, sizeof answer - len);
        if (n <= 0)
            fail("handshake");
        len += (size_t)n;
    } while (len < 4 || memcmp(answer + len - 4, "\r\n\r\n", 4) != 0);
    if (memcmp(answer, "HTTP/1.1 101 ", 13) != 0) {
        errno = 0;
        fail("answer to the upgrade");
    }
    return fd;
}

static void load_send(struct load *load, int fd, size_t count)
{
    size_t len = count * load->request_len;

    if (count && !send_all(fd, load->requests, len))
        fail("send");
}

static void load_open(struct load *load, const struct load_case *what, const struct server *server)
{
    uint8_t text[BUFFER_SIZE], packed[BUFFER_SIZE], *payload = text;
    uint8_t first = server->deflate ? 0xc1 : 0x81; /* final, compressed or not, text */
    unsigned len = what->payload_len;

    fill_text(text, len);
    if (server->deflate) {
        len = compress_text(packed, sizeof packed, text, len);
        payload = packed;
    }
    load->request_len = load->answer_len = 0;
    for (size_t at = 0; at + len + 8 <= sizeof load->requests; at += load->request_len)
        load->request_len = put_frame(load->requests + at, payload, len, first, true);
    for (size_t at = 0; at + len + 8 <= sizeof load->answers; at += load->answer_len)
        load->answer_len = put_frame(load->answers + at, payload, len, first, false);
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    memset(load->part, 0, sizeof load->part);
    load->messages = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        load->fds[i] = load_connect(server);
        if (load->fds[i] < 0)
            fail("connect");
        watch(load->epoll_fd, load->fds[i]);
    }
    for (int i = 0; i < CONNECTIONS; i++)
        load_send(load, load->fds[i], what->in_flight);
}

static void load_close(struct load *load)
{
    for (int i = 0; i < CONNECTIONS; i++)
        hang_up(load->fds[i]);
    close(load->epoll_fd);
}

/* A request for each answer. Every byte of every answer is looked at. */
static void load_serve(struct load *load, int fd)
{
    static uint8_t in[BUFFER_SIZE];
    ssize_t n = receive(fd, in, sizeof in);
    size_t whole;

    if (n <= 0)
        fail("recv");
    if (memcmp(in, load->answers + load->part[fd], (size_t)n) != 0) {
        errno = 0;
        fail("echo");
    }
    whole = (load->part[fd] + (size_t)n) / load->answer_len;
    load->part[fd] = (load->part[fd] + (size_t)n) % load->answer_len;
    load->messages += whole;
    load_send(load, fd, whole);
}

static void load_run(struct load *load, unsigned ms)
{
    static struct epoll_event events[EVENTS_MAX];
    uint64_t end = clock_ns(CLOCK_MONOTONIC) + ms * UINT64_C(1000000);

    while (clock_ns(CLOCK_MONOTONIC) < end) {
        int count = epoll_wait(load->epoll_fd, events, EVENTS_MAX, SILENCE_MS);
        if (count <= 0) {
            if (count == 0)
                errno = ETIMEDOUT;
            fail("no answer");
        }
        for (int i = 0; i < count; i++)
            do
                load_serve(load, events[i].data.fd);
            while (more_inside(events[i].data.fd));
    }
}

/* ---- rounds ---- */

struct result {
    double per_second, cpu_us;
};

static struct result measure(const struct server *server, const struct load_case *what,
                             unsigned measure_ms)
{
    static struct load load;
    uint64_t began, cpu, took, messages;

    load_open(&load, what, server);
    load_run(&load, WARM_MS);
    messages = load.messages;
    began = clock_ns(CLOCK_MONOTONIC);
    cpu = clock_ns(server->cpu);
    load_run(&load, measure_ms);
    cpu = clock_ns(server->cpu) - cpu;
    took = clock_ns(CLOCK_MONOTONIC) - began;
    messages = load.messages - messages;
    load_close(&load);
    return (struct result){ .per_second = (double)messages * 1e9 / (double)took,
                            .cpu_us = (double)cpu / 1e3 / (double)messages };
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

enum { FLOOR, PRODUCT, DEFLATE, SECURE, SERVERS };
/* A table of the report: two servers side by side. */
static const struct table {
    const char *title;
    int servers[2];
    struct load_case cases[4];
} tables[] = {
    { "                     |      bare epoll loop    |        echo-test        | ratio of CPU",
      { FLOOR, PRODUCT },
      { { 20, 16 }, { 512, 16 }, { 20, 1 }, { 512, 1 } } },
    { "                     |        echo-test        |   echo-test --deflate   | ratio of CPU",
      { PRODUCT, DEFLATE },
      { { 512, 16 }, { 4096, 8 }, { 512, 1 }, { 4096, 1 } } },
    { "                     |        echo-test        |     echo-test --tls     | ratio of CPU",
      { PRODUCT, SECURE },
      { { 20, 16 }, { 512, 16 }, { 20, 1 }, { 512, 1 } } },
};
enum { TABLES = sizeof tables / sizeof tables[0], CASES = 4 };
static struct result results[TABLES][CASES][2][ROUNDS_MAX];

static double median_of(const struct result *of, int rounds, bool cpu)
{
    double values[ROUNDS_MAX] = { 0 };

    for (int i = 0; i < rounds; i++)
        values[i] = cpu ? of[i].cpu_us : of[i].per_second;
    return median(values, rounds);
}

static void report(const struct load_case *what, struct result (*of)[ROUNDS_MAX], int rounds)
{
    double ratios[ROUNDS_MAX] = { 0 };

    for (int i = 0; i < rounds; i++)
        ratios[i] = of[1][i].cpu_us / of[0][i].cpu_us;
    printf("%4u B  %2u in flight | %9.0f/s %6.3f us | %9.0f/s %6.3f us | %5.3f", what->payload_len,
           what->in_flight, median_of(of[0], rounds, false), median_of(of[0], rounds, true),
           median_of(of[1], rounds, false), median_of(of[1], rounds, true), median(ratios, rounds));
    printf("  (%.3f to %.3f)\n", ratios[0], ratios[rounds - 1]); /* median has sorted them */
}

/* The product listens a moment after its start. */
static void wait_for(const struct server *server)
{
    for (int i = 0; i < 100; i++) {
        int fd = load_connect(server);
        if (fd >= 0) {
            hang_up(fd);
            return;
        }
        usleep(50000);
    }
    fail(server->name);
}

static void run_round(const struct server *servers, int round, unsigned measure_ms)
{
    for (int table = 0; table < TABLES; table++)
        for (int which = 0; which < CASES; which++)
            for (int i = 0; i < 2; i++) {
                int who = (i + round) % 2; /* who goes first changes */
                results[table][which][who][round] = measure(
                    &servers[tables[table].servers[who]], &tables[table].cases[which], measure_ms);
            }
}

int main(int argc, char **argv)
{
    struct server servers[SERVERS] = { { .name = "floor" },
                                       { .name = "echo-test" },
                                       { .name = "echo-test --deflate", .deflate = true },
                                       { .name = "echo-test --tls", .secure = true } };
    const char *pem;
    int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : ROUNDS;
    unsigned measure_ms = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : MEASURE_MS;

    if (argc < 2 || argc > 4 || measure_ms < 1 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_echo SERVER-BINARY [ROUNDS [MS]]\n");
        return 2;
    }
    start_floor(&servers[FLOOR]);
    pem = write_pair();
    start_product(&servers[PRODUCT], argv[1], NULL);
    start_product(&servers[DEFLATE], argv[1], NULL);
    start_product(&servers[SECURE], argv[1], pem);
    pin(LOAD_CORE);
    for (int i = 0; i < SERVERS; i++)
        wait_for(&servers[i]);
    for (int round = 0; round < rounds; round++)
        run_round(servers, round, measure_ms);
    printf("%d connections, %d rounds of %.1f s; medians; us: server CPU a message\n", CONNECTIONS,
           rounds, measure_ms / 1e3);
    for (int table = 0; table < TABLES; table++) {
        puts(tables[table].title);
        for (int which = 0; which < CASES; which++)
            report(&tables[table].cases[which], results[table][which], rounds);
    }
    unlink(pem);
    for (int i = 0; i < SERVERS; i++) {
        kill(servers[i].pid, SIGKILL);
        waitpid(servers[i].pid, NULL, 0);
    }
    return 0;
}
