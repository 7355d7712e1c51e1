/*
 * Both ends of bench_echo.py: a bare epoll echo, and the load generator that drives it and
 * `echo-test` alike.
 *
 * The bare loop is the floor: one thread, one read and one write an event, frames unmasked in
 * place, no checks but the length. What a real codec costs on top of it is what the bench shows.
 *
 *   bench_echo bare PORT
 *   bench_echo load PORT CONNECTIONS BYTES IN_FLIGHT SECONDS     prints: messages seconds
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER_SIZE = 256 << 10,
    EVENTS = 256,
    HEAD_SIZE = 2048,
    MASK_BYTES = 4,
    PAYLOAD_MAX = 4096
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons(port) };
}

static void watch(int epoll_fd, int fd, void *data)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = data };
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl");
}

static void write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EAGAIN)
            die("write");
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
}

/* ---- the bare echo ---- */

struct peer {
    int fd;
    size_t kept_len; /* of a frame that was not all there */
    uint8_t kept[PAYLOAD_MAX + 14];
};

/* The load's key is always the example of RFC 6455 1.3, so its answer is too. */
static void handshake(int fd)
{
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char head[HEAD_SIZE] = "";
    size_t used = 0;

    while (!strstr(head, "\r\n\r\n")) {
        ssize_t n = read(fd, head + used, sizeof head - 1 - used);
        if (n <= 0)
            die("handshake");
        used += (size_t)n;
    }
    write_all(fd, (const uint8_t *)answer, sizeof answer - 1);
}

static void unmask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[MASK_BYTES])
{
    uint64_t key, word;
    size_t i = 0;

    memcpy(&key, mask, MASK_BYTES);
    memcpy((uint8_t *)&key + MASK_BYTES, mask, MASK_BYTES);
    for (; i + sizeof word <= len; i += sizeof word) {
        memcpy(&word, in + i, sizeof word);
        word ^= key;
        memcpy(out + i, &word, sizeof word);
    }
    for (; i < len; i++)
        out[i] = in[i] ^ mask[i & 3];
}

/* Takes whole frames of at most 65535 bytes from input; returns how much was used, and the echo in
 * output. */
static size_t echo_frames(uint8_t *input, size_t len, uint8_t *output, size_t *output_len)
{
    size_t at = 0;

    *output_len = 0;
    while (len - at >= 2 + MASK_BYTES) {
        size_t head = (input[at + 1] & 0x7f) == 126 ? 4 : 2;
        size_t payload_len =
            head == 4 ? (size_t)input[at + 2] << 8 | input[at + 3] : input[at + 1] & 0x7f;
        uint8_t *mask = input + at + head, *payload = mask + MASK_BYTES;

        if (len - at < head + MASK_BYTES + payload_len)
            break;
        memcpy(output + *output_len, input + at, head);
        output[*output_len + 1] &= 0x7f;
        unmask(output + *output_len + head, payload, payload_len, mask);
        *output_len += head + payload_len;
        at += head + MASK_BYTES + payload_len;
    }
    return at;
}

static void serve_peer(struct peer *peer)
{
    static uint8_t input[BUFFER_SIZE], output[BUFFER_SIZE];
    size_t used, output_len;
    ssize_t n;

    memcpy(input, peer->kept, peer->kept_len);
    n = read(peer->fd, input + peer->kept_len, sizeof input - sizeof peer->kept);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return;
        close(peer->fd);
        free(peer);
        return;
    }
    used = echo_frames(input, peer->kept_len + (size_t)n, output, &output_len);
    peer->kept_len += (size_t)n - used;
    if (peer->kept_len > sizeof peer->kept) {
        fputs("bench_echo: a frame longer than the bench sends\n", stderr);
        exit(1);
    }
    memcpy(peer->kept, input + used, peer->kept_len);
    write_all(peer->fd, output, output_len);
}

static _Noreturn void run_bare(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    struct epoll_event events[EVENTS];
    int listen_fd = socket(AF_INET, SOCK_STREAM, 0), epoll_fd = epoll_create1(0), on = 1;

    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listen_fd, (struct sockaddr *)&address, sizeof address) || listen(listen_fd, 512))
        die("listen");
    watch(epoll_fd, listen_fd, NULL);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                serve_peer(events[i].data.ptr);
            } else {
                struct peer *peer = calloc(1, sizeof *peer);
                if (!peer)
                    die("calloc");
                peer->fd = accept(listen_fd, NULL, NULL);
                handshake(peer->fd);
                watch(epoll_fd, peer->fd, peer);
            }
        }
    }
}

/* ---- the load ---- */

struct talker {
    int fd;
    size_t echoed; /* bytes of the frame that is coming in */
};

struct load {
    size_t frame_len, echo_len, in_flight;
    uint8_t *frames; /* in_flight frames, one behind the other */
};

static struct load load_new(size_t payload_len, size_t in_flight)
{
    size_t head = payload_len < 126 ? 2 : 4;
    struct load load = { .frame_len = head + MASK_BYTES + payload_len,
                         .echo_len = head + payload_len,
                         .in_flight = in_flight };
    static const uint8_t mask[MASK_BYTES] = { 0x37, 0xfa, 0x21, 0x3d };

    load.frames = malloc(load.frame_len * in_flight);
    if (!load.frames)
        die("malloc");
    for (size_t i = 0; i < in_flight; i++) {
        uint8_t *frame = load.frames + i * load.frame_len;
        frame[0] = 0x82;
        frame[1] = (uint8_t)(0x80 | (head == 2 ? payload_len : 126));
        if (head == 4) {
            frame[2] = (uint8_t)(payload_len >> 8);
            frame[3] = (uint8_t)payload_len;
        }
        memcpy(frame + head, mask, sizeof mask);
        for (size_t j = 0; j < payload_len; j++)
            frame[head + MASK_BYTES + j] = (uint8_t)('a' + j % 26) ^ mask[j & 3];
    }
    return load;
}

static int connect_and_upgrade(uint16_t port)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n";
    struct sockaddr_in address = loopback(port);
    char head[HEAD_SIZE] = "";
    size_t used = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    write_all(fd, (const uint8_t *)request, sizeof request - 1);
    while (!strstr(head, "\r\n\r\n")) {
        ssize_t n = read(fd, head + used, sizeof head - 1 - used);
        if (n <= 0)
            die("upgrade");
        used += (size_t)n;
    }
    if (!strstr(head, " 101 ")) {
        fprintf(stderr, "bench_echo: %s\n", head);
        exit(1);
    }
    return fd;
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Reads what came back and sends as many new messages as were answered; returns how many that were.
 */
static size_t turn(struct talker *talker, const struct load *load)
{
    static uint8_t input[BUFFER_SIZE];
    ssize_t n = read(talker->fd, input, sizeof input);
    size_t answered;

    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return 0;
        die("bench_echo: the server ended the connection");
    }
    talker->echoed += (size_t)n;
    answered = talker->echoed / load->echo_len;
    talker->echoed %= load->echo_len;
    if (answered)
        write_all(talker->fd, load->frames, answered * load->frame_len);
    return answered;
}

static int run_load(uint16_t port, size_t connections, size_t payload_len, size_t in_flight,
                    double seconds)
{
    struct load load = load_new(payload_len, in_flight);
    struct talker *talkers = calloc(connections, sizeof *talkers);
    struct epoll_event events[EVENTS];
    int epoll_fd = epoll_create1(0);
    size_t messages = 0;
    double start, now;

    if (!talkers)
        die("calloc");
    for (size_t i = 0; i < connections; i++) {
        talkers[i].fd = connect_and_upgrade(port);
        watch(epoll_fd, talkers[i].fd, &talkers[i]);
    }
    puts("ready"); /* the handshakes are not part of what is measured */
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    for (size_t i = 0; i < connections; i++)
        write_all(talkers[i].fd, load.frames, in_flight * load.frame_len);
    start = now_s();
    do {
        int count = epoll_wait(epoll_fd, events, EVENTS, 1000);
        for (int i = 0; i < count; i++)
            messages += turn(events[i].data.ptr, &load);
        now = now_s();
    } while (now - start < seconds);
    printf("%zu %.6f\n", messages, now - start);
    fflush(stdout);
    if (getchar() == EOF) /* connected until the server's CPU time has been read */
        return 0;
    free(load.frames);
    free(talkers);
    return 0;
}

int main(int argc, char **argv)
{
    long numbers[5] = { 0 };

    for (int i = 2; i < argc && i < 7; i++)
        numbers[i - 2] = strtol(argv[i], NULL, 10);
    if (argc == 3 && strcmp(argv[1], "bare") == 0)
        run_bare((uint16_t)numbers[0]);
    if (argc == 7 && strcmp(argv[1], "load") == 0 && numbers[2] <= PAYLOAD_MAX)
        return run_load((uint16_t)numbers[0], (size_t)numbers[1], (size_t)numbers[2],
                        (size_t)numbers[3], (double)numbers[4]);
    fputs("usage: bench_echo bare PORT | load PORT CONNECTIONS BYTES IN_FLIGHT SECONDS\n", stderr);
    return 2;
}
