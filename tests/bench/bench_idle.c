/*
 * Opens many upgraded sessions and holds them idle, for bench_idle.py.
 *
 * A process may have 20,000 descriptors, and one source address some 28,000 ports; so each child
 * opens its share from an address of its own, says how many it holds, and keeps them until standard
 * input ends.
 *
 *   bench_idle PORT CHILDREN < tokens, one a line, an empty line at the end
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 64, TOKEN_SIZE = 1024, HEAD_SIZE = 2048 };

struct tokens {
    char (*lines)[TOKEN_SIZE];
    size_t count;
};

static struct tokens read_tokens(void)
{
    struct tokens tokens = { 0 };
    size_t room = 0;
    char line[TOKEN_SIZE];

    while (fgets(line, sizeof line, stdin) && line[0] != '\n') {
        if (tokens.count == room) {
            room = room ? room * 2 : 1024;
            tokens.lines = realloc(tokens.lines, room * sizeof *tokens.lines);
            if (!tokens.lines) {
                perror("bench_idle");
                exit(1);
            }
        }
        line[strcspn(line, "\n")] = 0;
        memcpy(tokens.lines[tokens.count++], line, sizeof line);
    }
    return tokens;
}

static int connect_from(uint32_t source, uint16_t port)
{
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(source) };
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) ||
        connect(fd, (struct sockaddr *)&to, sizeof to)) {
        perror("bench_idle: connect");
        exit(1);
    }
    return fd;
}

/* The status of the answer. The welcome behind it stays in the kernel or is read along; it is not
 * looked at. */
static int upgrade(int fd, const char *token)
{
    char head[HEAD_SIZE];
    size_t used = 0;
    ssize_t n;
    int len = snprintf(
        head, sizeof head,
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Authorization: Bearer %s\r\n\r\n",
        token);

    if (len < 0 || (size_t)len >= sizeof head || write(fd, head, (size_t)len) != len)
        return 0;
    do {
        n = read(fd, head + used, sizeof head - 1 - used);
        if (n <= 0)
            return 0;
        used += (size_t)n;
        head[used] = 0;
    } while (!strstr(head, "\r\n\r\n") && used < sizeof head - 1);
    return used > 12 ? (int)strtol(head + 9, NULL, 10) : 0;
}

static void child(uint16_t port, const struct tokens *tokens, size_t first, size_t step)
{
    size_t held = 0;
    int status = 101;

    for (size_t i = first; i < tokens->count && status == 101; i += step) {
        status =
            upgrade(connect_from(INADDR_LOOPBACK + 1 + (uint32_t)first, port), tokens->lines[i]);
        held += status == 101;
    }
    printf("%zu %d\n", held, status);
    fflush(stdout);
    pause(); /* until the parent says that it is over */
    _exit(0);
}

int main(int argc, char **argv)
{
    long port = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
    long children = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    pid_t pids[CHILDREN_MAX];
    struct tokens tokens;

    if (port < 1 || port > 65535 || children < 1 || children > CHILDREN_MAX) {
        fputs("usage: bench_idle PORT CHILDREN < tokens\n", stderr);
        return 2;
    }
    tokens = read_tokens();
    for (long i = 0; i < children; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            child((uint16_t)port, &tokens, (size_t)i, (size_t)children);
    }
    while (getchar() != EOF)
        ;
    for (long i = 0; i < children; i++)
        kill(pids[i], SIGTERM);
    while (wait(NULL) > 0)
        ;
    free(tokens.lines);
    return 0;
}
