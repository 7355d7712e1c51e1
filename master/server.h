/* The state of the master while it serves. serve.c runs the server, reload.c changes the
 * configuration. */
#ifndef MASTER_SERVER_H
#define MASTER_SERVER_H

#include "master/crew.h"
#include "master/embedded.h"
#include "master/listener.h"
#include "master/notify.h"
#include "master/options.h"
#include "master/pidfile.h"
#include "shm/about.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NOT_RUNNING = 3, EXIT_WAITING = 4 };

struct server {
    const struct options *options;
    struct config *config; /* in force */
    struct region *region;
    struct pidfile pidfile;
    struct crew crew;
    struct listeners listeners;
    struct admin_doors admin;
    struct embedded storage;
    bool crew_held;          /* no worker starts before the storage is there */
    bool swap_held;          /* no worker is replaced before the storage has its new settings */
    struct tickets *tickets; /* keys of TLS tickets */
    uint64_t tickets_due_ms; /* of tickets_turn */
    uint64_t certs_due_ms;   /* of the next look at the certificates' ends */
    int signal_fd, daemon_fd;
    int door_fd; /* of `status`; -1: it could not be opened */
    int log_fd;  /* -1: standard error */
    char node[256];
    uint64_t settled_ms;     /* the last log_settle */
    uint64_t jwks_looked_ms; /* the last look at auth.jwks */
    int64_t jwks_refused;    /* the stamp of a file that could not be used, or -1: none */
    struct about about;      /* as published (notice.c) */
    uint64_t lines_counted;  /* of log_lines_dropped, in the counter log_lines_lost */
    struct notify notify;    /* the service manager */
    uint32_t serving_told;   /* the number of workers that the service manager knows */
    bool announced;    /* the log and the daemon's caller know that connections are accepted */
    uint64_t since_ms; /* the start */
    bool stopping, hurried, failed;
};

/* The subcommand. Returns the exit status. */
int serve(const struct options *options);

/* Reads the configuration again. The new configuration takes effect as a whole, or not at all.
 * Appends to answer, unless that is NULL, how the reload has ended (reload_answer.h); false: the
 * configuration was refused. */
bool reload(struct server *server, struct buf *answer);
/* Appends what a reload would do now, and does nothing. */
bool reload_plan(struct server *server, struct buf *answer);
/* SIGUSR1, and a changed log.file: opens path ("": standard error) and logs there from now on, in
 * all workers too. ERR_SYSTEM: the old file stays in use. */
enum err reload_log_file(struct server *server, const char *path);

/* Says in the log how much auth.revoked revokes, and how many keys auth.jwks has; nothing of a key
 * that names no file. */
void reload_log_read(const struct config *config);
/* Puts errors and warnings into the log, a line each. */
void reload_log_report(const struct config_report *report);
/* Makes config, owned by the server from now on, the one in force; tells the workers, or with swap
 * replaces them. */
void reload_put_in_force(struct server *server, struct config *config, bool swap);

/* jwks_watch.c, call about once a second: reads auth.jwks again when the file has changed, every
 * auth.jwksRefreshSeconds. A file that cannot be used changes nothing. */
void jwks_watch(struct server *server, uint64_t now_ms);

/* Is there a key to check tokens with, where tokens are required? */
bool reload_has_key(const struct config *config);
/* Can a config that is good in itself serve? False, with a line in why, when there is no key or no
 * user. */
bool reload_may_serve(const struct config *config, char *why, size_t why_size);

#endif
