#include "master/redis_tls.h"

#include "worker/wire/tls_client.h"

#include <stdio.h>

bool redis_tls_judge(const struct config *config, char *why, size_t why_size)
{
    struct tls_client *client;
    char reason[160];

    if (!config->redis.tls)
        return true;
    client = tls_client_new(
        &(struct tls_client_options){
            .issuers = slice_of(config->redis_tls.ca),
            .chain = slice_of(config->redis_tls.cert),
            .key = slice_of(config->redis_tls.key),
            .server = config->redis.host,
            .verify = config->redis_tls.verify,
        },
        reason, sizeof reason);
    if (!client)
        snprintf(why, why_size, "redis.tls: %s", reason);
    tls_client_free(client);
    return client != NULL;
}
