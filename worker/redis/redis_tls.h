/* TLS below a connection to Redis: the handshake between connected and logged in, and the words for
 * what goes wrong. For redis.c alone. */
#ifndef WORKER_REDIS_TLS_H
#define WORKER_REDIS_TLS_H

#include "worker/redis/redis_parts.h"

/* Makes redis->tls_client when the configuration says rediss://. False: out of memory, or files
 * that the master would have refused. */
bool redis_tls_prepare(struct redis *redis, const struct config *config);
/* One step of the handshake; the first one begins it. True: it is over. False: it goes on when the
 * socket is ready, or redis_fail has been called. */
bool redis_tls_step(struct redis *redis);
/* Has TLS bytes that the socket has not taken? */
bool redis_tls_unsent(const struct redis *redis);
/* Sends these on: 0, or -1 with errno, as tls_finish. */
int redis_tls_finish(struct redis *redis);
/* redis_fail with the reason of TLS, or that of errno. */
void redis_tls_fail(struct redis *redis, const char *what);

#endif
