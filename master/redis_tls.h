/* Judges the certificates for the connections to Redis before any worker needs them. */
#ifndef MASTER_REDIS_TLS_H
#define MASTER_REDIS_TLS_H

#include "config/config.h"

/* False, with a line in why, when the files of redis.tls are not what TLS needs. */
bool redis_tls_judge(const struct config *config, char *why, size_t why_size);

#endif
