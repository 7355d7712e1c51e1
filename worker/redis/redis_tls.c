#include "worker/redis/redis_tls.h"

#include "common/log.h"
#include "worker/wire/tls_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool redis_tls_prepare(struct redis *redis, const struct config *config)
{
    const char *name = config->redis_tls.server_name;
    char why[160];

    if (!config->redis.tls)
        return true;
    redis->tls_client = tls_client_new(
        &(struct tls_client_options){
            .issuers = slice_of(config->redis_tls.ca),
            .chain = slice_of(config->redis_tls.cert),
            .key = slice_of(config->redis_tls.key),
            .server = name && *name ? name : config->redis.host,
            .verify = config->redis_tls.verify,
        },
        why, sizeof why);
    if (!redis->tls_client)
        log_error("redis_tls", "connection=%s reason=\"%s\"", redis->name, why);
    return redis->tls_client != NULL;
}

void redis_tls_fail(struct redis *redis, const char *what)
{
    int error = errno;
    char text[120] = "";

    if (redis->tls)
        tls_client_fault(redis->tls, text, sizeof text);
    /* With TLS 1.3 the refusal of a client comes after the handshake, and the reset that follows
     * can take the alert with it. */
    if (!*text && redis->tls && redis->state == SETUP)
        snprintf(text, sizeof text,
                 "%s before any answer: Redis may want a certificate "
                 "(redis.tls.certFile)",
                 strerror(error));
    redis_fail(redis, what, *text ? text : strerror(error));
}

bool redis_tls_step(struct redis *redis)
{
    unsigned events = LOOP_READ;

    if (!redis->tls)
        redis->tls = tls_connect(redis->tls_client, redis->fd);
    if (!redis->tls) {
        redis_fail(redis, "no memory", "");
        return false;
    }
    switch (tls_handshake(redis->tls, true)) {
    case TLS_READY:
        return true;
    case TLS_FAILED:
        errno = EPROTO;
        redis_tls_fail(redis, "TLS");
        return false;
    case TLS_WANTS_WRITE:
        events = LOOP_WRITE;
        break;
    case TLS_WANTS_READ:
    case TLS_WANTS_LEAVE:
        break;
    }
    if (loop_rewatch(redis->loop, &redis->watch, events))
        redis_fail(redis, "watch", strerror(errno));
    return false;
}

bool redis_tls_unsent(const struct redis *redis)
{
    return redis->tls && tls_unsent(redis->tls) > 0;
}

int redis_tls_finish(struct redis *redis)
{
    return tls_finish(redis->tls);
}
