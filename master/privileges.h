/*
 * A worker reads strangers' bytes, so a worker has no privileges: when the server is started as
 * root, workers become config->user before they read anything, and cannot go back. The master stays
 * root, because a reload must read key files.
 */
#ifndef MASTER_PRIVILEGES_H
#define MASTER_PRIVILEGES_H

#include "common/err.h"
#include "config/config.h"

#include <sys/types.h>

struct privileges {
    bool drop; /* the server was started as root */
    char user[64];
    uid_t uid;
    gid_t gid;
    /* Set when config names no user and Redis is a unix socket. If the user nobody may not write to
     * the socket, the worker keeps CAP_DAC_OVERRIDE, with a warning: otherwise a plain Debian Redis
     * (socket mode 0750) with a plain config would refuse every worker. Borrowed from the
     * config. */
    const char *redis_socket;
};

/* Finds the user and group of the workers. ERR_ABSENT: no such user or group; ERR_BAD: the user is
 * root. why says what is wrong. */
enum err privileges_resolve(const struct config *config, struct privileges *privileges, char *why,
                            size_t why_size);
/* In the worker: becomes that user. After an error the worker must exit. ERR_SYSTEM with errno, or
 * ERR_BAD when root could be regained; *step is a static name of the step that failed. */
enum err privileges_drop(const struct privileges *privileges, const char **step);

/* Lets no process of the same user read this one's memory (ptrace, /proc/PID/mem), nor a core dump
 * hold it. Root may still. */
void privileges_hide(void);

#endif
