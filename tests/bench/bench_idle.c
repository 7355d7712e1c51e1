/*
 * Holds many idle sessions against a real server: the clients of `make bench-idle`
 * (tests/bench/idle.py starts several, for a process may have only so many descriptors and an
 * address only so many ports).
 *
 * Each session has an address, a token and a `jti` of its own, as in life: what sessions could
 * share must not flatter the figure. It says `held N` when all have had their welcome, answers
 * pings, and leaves when its standard input ends. A session that the server closes is a failure.
 */
#include "tests/bench/client.h"

enum { EVENTS_MAX = 256 };

static void answer_ping(int fd)
{
    static const uint8_t pong[6] = { 0x8a, 0x80 }; /* masked with zeros, empty */
    uint8_t ping[ANSWER_MAX];
    ssize_t n = client_recv(fd, ping, sizeof ping);

    if (n == 2 && ping[0] == 0x89 && ping[1] == 0 && client_send(fd, pong, sizeof pong) > 0)
        return;
    if (n >= 0)
        errno = 0;
    fail("a session did not stay");
}

/* Until standard input ends. */
static void hold(int epoll_fd)
{
    static struct epoll_event events[EVENTS_MAX];

    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == STDIN_FILENO)
                return;
            answer_ping(events[i].data.fd);
        }
    }
}

int main(int argc, char **argv)
{
    unsigned long port, first, count;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bool secure = false;

    for (int i = 6; i < argc; i++) {
        offers_deflate = offers_deflate || strcmp(argv[i], "deflate") == 0;
        secure = secure || strcmp(argv[i], "tls") == 0;
    }
    if (argc < 6) {
        fprintf(stderr,
                "usage: bench_idle PORT SECRET-FILE SOURCE-ADDRESS FIRST COUNT [deflate] [tls]\n");
        return 2;
    }
    port = strtoul(argv[1], NULL, 10);
    first = strtoul(argv[4], NULL, 10);
    count = strtoul(argv[5], NULL, 10);
    if (token_init())
        fail("token_init");
    read_secret(argv[2]);
    watch(epoll_fd, STDIN_FILENO);
    for (unsigned long i = first; i < first + count; i++) {
        char address[32];
        int fd = connect_from(argv[3], (uint16_t)port);
        if (secure)
            client_secure(fd);
        snprintf(address, sizeof address, "user-%08lu", i);
        send_request(fd, address);
        await_welcome(fd);
        watch(epoll_fd, fd);
    }
    printf("held %lu\n", count);
    fflush(stdout);
    hold(epoll_fd);
    return 0;
}
