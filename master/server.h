/* What the master holds while it serves; serve.c runs it, reload.c changes it. */
#ifndef MASTER_SERVER_H
#define MASTER_SERVER_H

#include "master/crew.h"
#include "master/options.h"
#include "master/pidfile.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NOT_RUNNING = 3 };

struct server {
    const struct options *options;
    struct config *config; /* in force */
    struct region *region;
    struct pidfile pidfile;
    struct crew crew;
    int listen_fd, signal_fd, daemon_fd;
    int log_fd; /* -1: standard error */
    char node[256];
    bool announced;    /* has said that it accepts */
    uint64_t since_ms; /* the start */
    bool stopping, hurried, failed;
};

/* The subcommand. Returns the exit status. */
int serve(const struct options *options);

/* SIGHUP: reads the configuration again; all of it takes effect, or nothing. */
void reload(struct server *server);
/* SIGUSR1, and a changed log.file: writes to a newly opened file from here on, in all workers, too.
 * What was open stays in use when that fails. */
enum err reload_log_file(struct server *server, const char *path);

/* What is wrong with a config that is good in itself but cannot serve; false, with a line in why.
 */
bool reload_may_serve(const struct config *config, char *why, size_t why_size);

#endif
