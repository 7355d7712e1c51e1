/*
 * A worker reads strangers' bytes, so it runs as nobody: when the server is started as root,
 * workers become config->user before they read anything, and cannot go back. The master stays what
 * it was: it must read key files at a reload.
 */
#ifndef MASTER_PRIVILEGES_H
#define MASTER_PRIVILEGES_H

#include "common/err.h"
#include "config/config.h"

#include <sys/types.h>

struct privileges {
    bool drop; /* we are root */
    char user[64];
    uid_t uid;
    gid_t gid;
    /* Set when config names no user and Redis is a unix socket: if nobody may not write to it, that
     * one power is kept, with a warning. Without it a plain Debian Redis (socket mode 0750) with a
     * plain config would refuse every worker. Borrowed from the config. */
    const char *redis_socket;
};

/* Who the workers are to be. ERR_ABSENT when there is no such user or group, ERR_BAD for root. */
enum err privileges_resolve(const struct config *config, struct privileges *privileges, char *why,
                            size_t why_size);
/* In the worker. On failure it must exit: ERR_SYSTEM with what failed in *step. */
enum err privileges_drop(const struct privileges *privileges, const char **step);

#endif
