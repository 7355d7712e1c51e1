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

static bool set_up(int fd, const struct addrinfo *info, bool v6_only, int backlog)
{
    int on = 1, alone = v6_only;

    /* A restart must not wait for old connections in TIME_WAIT. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on))
        return false;
    /* Said either way, whatever net.ipv6.bindv6only says. */
    if (info->ai_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &alone, sizeof alone))
        return false;
    return bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, backlog) == 0;
}

static int open_ip(const char *address, uint16_t port, bool v6_only, int backlog, char *why,
                   size_t why_size)
{
    struct addrinfo *info = resolve(address, port, why, why_size);
    int fd;

    if (!info)
        return -1;
    fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !set_up(fd, info, v6_only, backlog)) {
        snprintf(why, why_size, "listen %s port %u: %s", address, (unsigned)port, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(info);
    return fd;
}

int listener_open_ip(const char *address, uint16_t port, int backlog, char *why, size_t why_size)
{
    return open_ip(address, port, true, backlog, why, why_size);
}

static uint16_t port_of(const struct listen_item *item, const struct config *config)
{
    return item->port ? item->port : (uint16_t)config->socket_port;
}

/* Does the list have an IPv4 address of this port? Then an IPv6 socket must leave IPv4 alone, or
 * the two could not be bound side by side. port 0: of any port. */
static bool v4_is_listed(const struct config *config, uint16_t port)
{
    struct listen_item item;

    for (size_t i = 0; i < config->listen.count; i++)
        if (listen_parse(config->listen.items[i], &item) && !item.is_unix && !item.is_v6 &&
            (port == 0 || port_of(&item, config) == port))
            return true;
    return false;
}

static enum err add_socket(struct listeners *listeners, int fd)
{
    if (fd < 0)
        return ERR_SYSTEM;
    listeners->fds[listeners->count++] = fd;
    return OK;
}

static enum err open_item(struct listeners *listeners, const struct config *config,
                          const struct listen_item *item, char *why, size_t why_size)
{
    uint16_t port = port_of(item, config);
    int fd;

    if (item->is_unix) {
        fd = unix_socket_open(item, BACKLOG, &listeners->files[listeners->file_count], why,
                              why_size);
        listeners->file_count += fd >= 0;
        return add_socket(listeners, fd);
    }
    if (port == 0) /* socketPort is 0: the address has sslPort alone */
        return OK;
    return add_socket(listeners,
                      open_ip(item->host, port, item->is_v6 && v4_is_listed(config, port), BACKLOG,
                              why, why_size));
}

/* Has an earlier item the same address? Then sslPort is open there. */
static bool host_came_before(const struct config *config, size_t index,
                             const struct listen_item *item)
{
    struct listen_item earlier;

    for (size_t i = 0; i < index; i++)
        if (listen_parse(config->listen.items[i], &earlier) && !earlier.is_unix &&
            strcmp(earlier.host, item->host) == 0)
            return true;
    return false;
}

/* sslPort is opened on each address of the list, once. A unix socket is for a proxy, which has
 * ended TLS. */
static enum err open_secure(struct listeners *listeners, const struct config *config, size_t index,
                            const struct listen_item *item, char *why, size_t why_size)
{
    if (item->is_unix || host_came_before(config, index, item))
        return OK;
    return add_socket(listeners,
                      open_ip(item->host, (uint16_t)config->ssl_port,
                              item->is_v6 && v4_is_listed(config, 0), BACKLOG, why, why_size));
}

static enum err open_one(struct listeners *listeners, const struct config *config, size_t index,
                         bool secure, char *why, size_t why_size)
{
    const char *text = config->listen.items[index];
    struct listen_item item;

    if (!listen_parse(text, &item)) {
        snprintf(why, why_size, "listen %s: not understood", text);
        return ERR_BAD;
    }
    return secure ? open_secure(listeners, config, index, &item, why, why_size)
                  : open_item(listeners, config, &item, why, why_size);
}

enum err listeners_open(struct listeners *listeners, const struct config *config, char *why,
                        size_t why_size)
{
    enum err err = OK;

    *listeners = (struct listeners){ 0 };
    for (int secure = 0; !err && secure <= (config->ssl_port != 0); secure++) {
        for (size_t i = 0; !err && i < config->listen.count && i < LISTEN_MAX; i++)
            err = open_one(listeners, config, i, secure, why, why_size);
        if (!secure)
            listeners->plain_count = listeners->count;
    }
    if (err) {
        listeners_close(listeners);
        listeners_remove(listeners);
    }
    return err;
}

void listeners_close(struct listeners *listeners)
{
    while (listeners->count)
        close(listeners->fds[--listeners->count]);
}

void listeners_remove(struct listeners *listeners)
{
    while (listeners->file_count)
        unix_socket_remove(&listeners->files[--listeners->file_count]);
}
