#include "config/listen.h"

#include "common/ip.h"

#include <stdio.h>
#include <string.h>

static bool read_port(const char *text, uint16_t *port)
{
    unsigned value = 0;

    if (!*text || *text == '0' || strlen(text) > 5)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
    }
    *port = (uint16_t)value;
    return value <= 65535;
}

/* A host of host_len bytes, an IPv6 address without its brackets. */
static bool read_host(const char *text, size_t host_len, struct listen_item *item)
{
    struct ip unused;

    if (host_len >= sizeof item->host)
        return false;
    snprintf(item->host, sizeof item->host, "%.*s", (int)host_len, text);
    if (strcmp(item->host, "localhost") == 0)
        snprintf(item->host, sizeof item->host, "127.0.0.1");
    item->is_v6 = strchr(item->host, ':') != NULL;
    return ip_parse(slice_of(item->host), &unused);
}

static bool parse_ip(const char *text, struct listen_item *item)
{
    const char *end;

    if (*text == '[') {
        end = strchr(text, ']');
        return end && end[1] == ':' && read_host(text + 1, (size_t)(end - text - 1), item) &&
               item->is_v6 && read_port(end + 2, &item->port);
    }
    if (read_host(text, strlen(text), item))
        return true;
    end = strrchr(text, ':');
    return end && read_host(text, (size_t)(end - text), item) && !item->is_v6 &&
           read_port(end + 1, &item->port);
}

/* Three or four octal digits, of which the first of four is 0: no set-id and no sticky bit. */
static bool read_mode(const char *text, size_t len, uint32_t *mode)
{
    if (len == 4 && *text == '0') {
        text++;
        len--;
    }
    if (len != 3 || strspn(text, "01234567") < len)
        return false;
    *mode = (uint32_t)((text[0] - '0') << 6 | (text[1] - '0') << 3 | (text[2] - '0'));
    return true;
}

static bool read_option(const char *text, size_t len, struct listen_item *item)
{
    if (len > 5 && strncmp(text, "mode=", 5) == 0) {
        item->names_mode = true;
        return read_mode(text + 5, len - 5, &item->mode);
    }
    if (len <= 6 || strncmp(text, "group=", 6) != 0 || len - 6 >= sizeof item->group ||
        item->group[0])
        return false;
    snprintf(item->group, sizeof item->group, "%.*s", (int)(len - 6), text + 6);
    return true;
}

static bool parse_unix(const char *text, struct listen_item *item)
{
    size_t len = strcspn(text, "?");

    item->is_unix = true;
    item->mode = LISTEN_MODE;
    if (*text != '/' || text[len - 1] == '/' || len >= sizeof item->path)
        return false;
    snprintf(item->path, sizeof item->path, "%.*s", (int)len, text);
    if (!text[len])
        return true;
    for (text += len + 1;; text += len + 1) {
        len = strcspn(text, "&");
        if (!read_option(text, len, item))
            return false;
        if (!text[len])
            return true;
    }
}

bool listen_parse(const char *text, struct listen_item *item)
{
    *item = (struct listen_item){ 0 };
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, item);
    return parse_ip(text, item);
}

/* 127/8 and ::1. */
static bool is_loopback(const char *host)
{
    struct ip ip;

    return ip_parse(slice_of(host), &ip) &&
           (ip.kind == IP_V4 ? ip_in_network(&ip, "127.0.0.0/8") : ip_in_network(&ip, "::1"));
}

bool listen_is_beside(const char *text)
{
    return strcmp(text, "unix:") == 0;
}

bool listen_is_admin(const char *text)
{
    struct listen_item item;

    return listen_is_beside(text) || (listen_parse(text, &item) && (item.is_unix || item.port));
}

bool listen_is_far(const struct listen_item *item)
{
    return !item->is_unix && !is_loopback(item->host);
}

bool listen_needs_certificates(const struct config *config)
{
    struct listen_item item;
    bool needs = config->ssl_port != 0;

    for (size_t i = 0; i < config->admin.listen.count; i++)
        needs |= !listen_is_beside(config->admin.listen.items[i]) &&
                 listen_parse(config->admin.listen.items[i], &item) && listen_is_far(&item);
    return needs;
}

bool listen_is_local(const struct config_list *items)
{
    struct listen_item item;

    for (size_t i = 0; i < items->count; i++)
        if (!listen_parse(items->items[i], &item) || listen_is_far(&item))
            return false;
    return true;
}

bool listen_same(const struct listen_item *a, const struct listen_item *b, uint16_t port)
{
    if (a->is_unix || b->is_unix)
        return a->is_unix && b->is_unix && strcmp(a->path, b->path) == 0;
    return strcmp(a->host, b->host) == 0 &&
           (a->port ? a->port : port) == (b->port ? b->port : port);
}
