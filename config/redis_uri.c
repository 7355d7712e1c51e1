/*
 * The address of a Redis, in the seed's form and in the usual ones:
 *
 *   host:port    redis://[user:password@]host[:port][/db]    rediss://... (TLS)    unix:PATH
 *   embedded:DIR
 *
 * A uri may hold a password, so nothing here ever reports a uri: redis_uri_redact makes the form
 * that may be shown, also of a uri that cannot be parsed.
 */
#include "config/parts.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

enum { REDIS_PORT = 6379, REDIS_DB_MAX = 1000000, REDIS_HOST_MAX = 253 };

void redis_uri_fini(struct config_redis *redis)
{
    if (redis->password)
        explicit_bzero(redis->password, strlen(redis->password));
    free(redis->host);
    free(redis->path);
    free(redis->folder);
    free(redis->user);
    free(redis->password);
    *redis = (struct config_redis){ 0 };
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 section 2.1. NULL when an escape is broken, stands for NUL, or memory is out. */
static char *decode_user_part(struct slice text)
{
    char *out = malloc(text.len + 1), *to = out;

    if (!out)
        return NULL;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0) {
                explicit_bzero(out, text.len);
                free(out);
                return NULL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        *to++ = c;
    }
    *to = 0;
    return out;
}

static bool parse_number_within(struct slice text, int64_t min, int64_t max, int64_t *value)
{
    *value = 0;
    if (text.len == 0 || text.len > 9)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *value = *value * 10 + (text.data[i] - '0');
    }
    return *value >= min && *value <= max;
}

static bool host_good(const char *host, bool bracketed)
{
    static const char name_bytes[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    struct in6_addr address;

    if (bracketed)
        return inet_pton(AF_INET6, host, &address) == 1;
    return *host && strlen(host) <= REDIS_HOST_MAX && host[strspn(host, name_bytes)] == 0;
}

/* host[:port] */
static const char *parse_authority(struct slice text, bool port_needed, struct config_redis *redis)
{
    bool bracketed = text.len && text.data[0] == '[';
    const char *close = bracketed ? memchr(text.data, ']', text.len) : NULL;
    struct slice host, port;

    if (bracketed && !close)
        return "the ']' behind an IPv6 address is missing";
    host.data = text.data + bracketed;
    if (bracketed)
        host.len = (size_t)(close - host.data);
    else
        host.len = strcspn(host.data, ":/") < text.len ? strcspn(host.data, ":/") : text.len;
    port.data = host.data + host.len + bracketed;
    port.len = text.len - (size_t)(port.data - text.data);
    redis->host = strndup(host.data, host.len);
    if (!redis->host)
        return "out of memory";
    if (!host_good(redis->host, bracketed))
        return "the host is no name or address";
    redis->port = REDIS_PORT;
    if (port.len == 0)
        return port_needed ? "the port is missing" : NULL;
    if (port.data[0] != ':' ||
        !parse_number_within(slice_make(port.data + 1, port.len - 1), 1, 65535, &redis->port))
        return "the port is not a number from 1 to 65535";
    return NULL;
}

/* [user][:password] */
static const char *parse_user(struct slice text, struct config_redis *redis)
{
    const char *colon = memchr(text.data, ':', text.len);
    size_t user_len = colon ? (size_t)(colon - text.data) : text.len;

    free(redis->user);
    redis->user = decode_user_part(slice_make(text.data, user_len));
    if (!redis->user)
        return "the user is not percent-encoded as it must be";
    if (!colon)
        return "the password is missing";
    free(redis->password);
    redis->password = decode_user_part(slice_make(colon + 1, text.len - user_len - 1));
    return redis->password ? NULL : "the password is not percent-encoded as it must be";
}

static const char no_options[] = "options behind '?' or '#' are not supported: timeouts are "
                                 "redis.commandTimeoutMs, redis.reconnectMinMs";

static const char *parse_url(const char *rest, struct config_redis *redis)
{
    const char *at = strrchr(rest, '@'), *slash;
    const char *reason = at ? parse_user(slice_make(rest, (size_t)(at - rest)), redis) : NULL;
    struct slice authority = slice_of(at ? at + 1 : rest);

    if (reason)
        return reason;
    if (memchr(authority.data, '?', authority.len) || memchr(authority.data, '#', authority.len))
        return no_options;
    slash = memchr(authority.data, '/', authority.len);
    if (slash) {
        struct slice db = slice_of(slash + 1);
        if (db.len && !parse_number_within(db, 0, REDIS_DB_MAX, &redis->db))
            return "the database is not a number from 0 to 1000000";
        authority.len = (size_t)(slash - authority.data);
    }
    return parse_authority(authority, false, redis);
}

static const char *parse_path(const char *path, struct config_redis *redis)
{
    const char *options = strchr(path, '?');

    redis->kind = CONFIG_REDIS_UNIX;
    if (!*path)
        return "the path is missing";
    if (options && strchr(options, '='))
        return no_options;
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return "the path is longer than a unix socket's may be";
    free(redis->path);
    redis->path = strdup(path);
    return redis->path ? NULL : "out of memory";
}

/* embedded_place makes the folder absolute, and chooses the path. */
static const char *parse_folder(const char *folder, struct config_redis *redis)
{
    redis->kind = CONFIG_REDIS_UNIX;
    if (!*folder)
        return "the folder is missing";
    if (folder[0] == '/' && folder[1] == '/')
        return "embedded storage is written embedded:DIR, without //";
    free(redis->folder);
    redis->folder = strdup(folder);
    return redis->folder ? NULL : "out of memory";
}

static bool has_scheme(const char *uri, const char *scheme)
{
    size_t len = strlen(scheme);

    return strncasecmp(uri, scheme, len) == 0 && strncmp(uri + len, "://", 3) == 0;
}

/* Says what is wrong with a uri that begins with a scheme, but not with "redis://"; NULL when the
 * uri has none. */
static const char *fault_of_scheme(const char *uri)
{
    if (has_scheme(uri, "redis"))
        return "the scheme must be written in small letters: redis://";
    if (has_scheme(uri, "rediss") || has_scheme(uri, "valkeys"))
        return "TLS to Redis is written rediss://, in small letters";
    if (has_scheme(uri, "unix") || has_scheme(uri, "redis-socket") ||
        has_scheme(uri, "redis+unix") || strncasecmp(uri, "unix:", 5) == 0)
        return "a unix socket is written unix:PATH, in small letters";
    if (strncasecmp(uri, "embedded:", 9) == 0)
        return "embedded storage is written embedded:DIR, in small letters";
    if (has_scheme(uri, "redis-sentinel") || has_scheme(uri, "redis+sentinel"))
        return "Redis Sentinel is not supported: name the master";
    if (strstr(uri, "://"))
        return "the scheme is not redis://";
    return NULL;
}

static const char *parse_uri_into(const char *uri, struct config_redis *redis)
{
    const char *scheme_fault;

    redis->user = strdup("");
    redis->password = strdup("");
    redis->path = strdup("");
    redis->folder = strdup("");
    if (!redis->user || !redis->password || !redis->path || !redis->folder)
        return "out of memory";
    for (const char *c = uri; *c; c++)
        if ((unsigned char)*c <= 0x20 || *c == 0x7f)
            return "there are spaces or control characters in it";
    if (strncmp(uri, "unix:", 5) == 0)
        return parse_path(uri + 5, redis);
    if (strncmp(uri, "embedded:", 9) == 0)
        return parse_folder(uri + 9, redis);
    redis->kind = CONFIG_REDIS_TCP;
    if (strncmp(uri, "redis://", 8) == 0)
        return parse_url(uri + 8, redis);
    redis->tls = strncmp(uri, "rediss://", 9) == 0;
    if (redis->tls)
        return parse_url(uri + 9, redis);
    scheme_fault = fault_of_scheme(uri);
    if (scheme_fault)
        return scheme_fault;
    if (strchr(uri, '?') || strchr(uri, '#'))
        return no_options;
    return parse_authority(slice_of(uri), true, redis);
}

enum err redis_uri_parse(const char *uri, struct config_redis *redis, const char **reason)
{
    struct config_redis made = { 0 };

    redis_uri_fini(redis);
    *reason = parse_uri_into(uri, &made);
    if (!*reason && !made.host && !(made.host = strdup("")))
        *reason = "out of memory";
    if (*reason) {
        redis_uri_fini(&made);
        return ERR_BAD;
    }
    *redis = made;
    return OK;
}

/* In a uri that cannot be parsed, the password may stand anywhere behind the first colon that is
 * not the scheme's. In doubt, that part is not shown. */
void redis_uri_redact(const char *uri, struct buf *out)
{
    const char *scheme = strstr(uri, "://"), *rest = scheme ? scheme + 3 : uri;
    const char *at = strrchr(rest, '@'), *colon;
    const char *host = at ? at + 1 : rest;
    size_t host_len = strcspn(host, "?#");

    if ((strncmp(uri, "unix:", 5) == 0 || strncmp(uri, "embedded:", 9) == 0) && !at) {
        buf_add_text(out, uri);
        return;
    }
    buf_add(out, uri, (size_t)(rest - uri));
    if (at) {
        colon = memchr(rest, ':', (size_t)(at - rest));
        if (colon)
            buf_add(out, rest, (size_t)(colon - rest) + 1);
        buf_add_text(out, "***@");
    }
    colon = memchr(host, ':', host_len);
    if (colon && *host != '[' &&
        strspn(colon + 1, "0123456789/") != host_len - (size_t)(colon + 1 - host)) {
        buf_add(out, host, (size_t)(colon - host) + 1);
        buf_add_text(out, "***"); /* no port: "user:password" without its '@' */
        return;
    }
    buf_add(out, host, host_len);
    if (host[host_len])
        buf_add_text(out, "?***");
}
