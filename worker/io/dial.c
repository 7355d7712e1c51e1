#include "worker/io/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel notices a peer that vanished without a reset after 15 + 3 * 5 s. */
enum { KEEPALIVE_IDLE_S = 15, KEEPALIVE_INTERVAL_S = 5, KEEPALIVE_PROBES = 3 };

static enum err connect_socket(int family, const struct sockaddr *address, socklen_t address_len,
                               int *fd)
{
    int s = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int errno_kept;

    if (s < 0)
        return ERR_SYSTEM;
    if (connect(s, address, address_len) == 0 || errno == EINPROGRESS) {
        *fd = s;
        return OK;
    }
    errno_kept = errno; /* EAGAIN: the backlog of a unix socket is full */
    close(s);
    errno = errno_kept;
    return ERR_SYSTEM;
}

enum err dial_unix(const char *path, int *fd)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t len = strlen(path);

    if (len >= sizeof address.sun_path)
        return ERR_BAD;
    memcpy(address.sun_path, path, len + 1);
    return connect_socket(AF_UNIX, (const struct sockaddr *)&address, sizeof address, fd);
}

/* Options make the connection better, not possible: a failure is ignored. */
static void tune_tcp(int fd)
{
    int yes = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S,
        probes = KEEPALIVE_PROBES;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static int look_up(const char *host, uint16_t port, struct addrinfo **found)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    char service[8];

    snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(host, service, &hints, found) == 0)
        return 0;
    hints.ai_flags = AI_NUMERICSERV;
    return getaddrinfo(host, service, &hints, found);
}

static const struct addrinfo *pick(const struct addrinfo *list, unsigned attempt)
{
    const struct addrinfo *at;
    unsigned count = 0;

    for (at = list; at; at = at->ai_next)
        count++;
    at = list;
    for (unsigned i = attempt % count; i > 0; i--)
        at = at->ai_next;
    return at;
}

enum err dial_tcp(const char *host, uint16_t port, unsigned attempt, int *fd)
{
    struct addrinfo *list = NULL;
    const struct addrinfo *at;
    enum err err;
    int errno_kept;

    if (look_up(host, port, &list) != 0 || !list)
        return ERR_ABSENT;
    at = pick(list, attempt);
    err = connect_socket(at->ai_family, at->ai_addr, at->ai_addrlen, fd);
    errno_kept = errno;
    freeaddrinfo(list);
    if (!err)
        tune_tcp(*fd);
    errno = errno_kept;
    return err;
}

int dial_result(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}
