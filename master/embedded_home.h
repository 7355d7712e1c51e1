/*
 * The folder of embedded storage, and the two locks in it.
 *
 * DIR/master.pid is locked by the master that uses the folder. DIR/redis.lock is locked by the
 * Redis itself: the child takes a record lock before the exec, the lock stays with the process for
 * life, and the kernel names its holder. So a Redis that a killed master left behind is found
 * without believing any text in a file.
 */
#ifndef MASTER_EMBEDDED_HOME_H
#define MASTER_EMBEDDED_HOME_H

#include "config/config.h"
#include "master/pidfile.h"
#include "master/privileges.h"

struct embedded_home {
    int folder_fd; /* of DIR; -1: none */
    struct pidfile lock;
    char *run_folder; /* of the socket, owned; NULL: DIR */
};

/* Makes DIR and the folder of the socket where they are missing, owned by the workers' user with
 * mode 0700, and takes the master's lock. Folders that exist must be so. Ends a Redis that was left
 * behind, and waits for its end, which takes seconds at most. False with the reason in why: another
 * server uses the folder, somebody else owns it, others may enter it, it cannot be written, or the
 * Redis there does not end. */
bool embedded_home_open(struct embedded_home *home, const struct config *config,
                        const struct privileges *privileges, char *why, size_t why_size);
/* Removes the master's lock, and the run folder when it is empty. A home that was never opened is
 * allowed. */
void embedded_home_close(struct embedded_home *home);

/* In the child, as the workers' user: takes DIR/redis.lock for the life of the process, across
 * exec. Returns the descriptor, which must stay open; -1 with errno. */
int embedded_home_lock_redis(const struct embedded_home *home);

#endif
