#include "master/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel cuts the backlog to net.core.somaxconn (4096 by default). The backlog is large because
 * all clients may come back at once. */
enum { BACKLOG = 4096 };

static struct addrinfo *resolve(const char *address, uint16_t port, char *why, size_t why_size)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
    struct addrinfo *found = NULL;
    char service[8];
    int rc;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    rc = getaddrinfo(address, service, &hints, &found);
    if (rc) {
        snprintf(why, why_size, "listen %s: %s", address, gai_strerror(rc));
        return NULL;
    }
    return found;
}

static bool set_up(int fd, const struct addrinfo *info)
{
    int on = 1, off = 0;

    /* A restart must not wait for old connections in TIME_WAIT. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on))
        return false;
    /* "::" takes IPv4 as well, whatever net.ipv6.bindv6only says. */
    if (info->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off))
        return false;
    return bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
}

static int open_port(const char *address, uint16_t port, char *why, size_t why_size)
{
    struct addrinfo *info = resolve(address, port, why, why_size);
    int fd;

    if (!info)
        return -1;
    fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !set_up(fd, info)) {
        snprintf(why, why_size, "listen %s port %u: %s", address, (unsigned)port, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(info);
    return fd;
}

static bool add_port(struct listeners *listeners, const struct config *config, int64_t port,
                     char *why, size_t why_size)
{
    int fd = open_port(config->listen, (uint16_t)port, why, why_size);

    if (fd >= 0)
        listeners->fds[listeners->count++] = fd;
    return fd >= 0;
}

enum err listeners_open(struct listeners *listeners, const struct config *config, char *why,
                        size_t why_size)
{
    *listeners = (struct listeners){ 0 };
    if (config->socket_port && !add_port(listeners, config, config->socket_port, why, why_size))
        return ERR_SYSTEM;
    listeners->plain_count = listeners->count;
    if (!config->ssl_port || add_port(listeners, config, config->ssl_port, why, why_size))
        return OK;
    listeners_close(listeners);
    return ERR_SYSTEM;
}

void listeners_close(struct listeners *listeners)
{
    while (listeners->count)
        close(listeners->fds[--listeners->count]);
}
