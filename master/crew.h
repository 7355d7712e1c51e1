/*
 * The workers as the master sees them: the crew forks, reaps, replaces, drains and watches workers.
 * supervisor.c decides; the crew carries the decisions out.
 *
 * One seat may have the clerk, which serves no clients: it is started, watched, told and drained as
 * a worker is, and counts as none.
 *
 * Seat i is worker slot i of the shared memory. A seat is given away only after its process has
 * been reaped, so there is never more than one live process in a slot.
 */
#ifndef MASTER_CREW_H
#define MASTER_CREW_H

#include "common/control.h"
#include "config/config.h"
#include "master/admin_doors.h"
#include "master/listener.h"
#include "master/supervisor.h"
#include "shm/region.h"

#include <poll.h>
#include <sys/types.h>

struct seat {
    enum seat_state state;
    pid_t pid;      /* 0: no process */
    int control_fd; /* -1: none */
    struct control_reader reader;
    struct control_queue queue; /* frames that wait for the worker */
    uint32_t backoff_ms;
    uint64_t due_ms;     /* WAITING: when to fork */
    uint64_t started_ms; /* when the process was forked */
    uint64_t kill_ms;    /* DRAINING: when patience ends */
    uint64_t aborted_ms; /* when the watchdog sent SIGABRT; 0: never */
    bool killed;         /* SIGKILL is on its way */
    bool is_clerk;       /* the process serves operators and backends, and no clients */
    bool stale;          /* the process has an old config that only a new process can change */
    bool asks;           /* the clerk has asked for `reload`, and has no answer */
    struct control_reload reload;
    int replaced_by;      /* the seat that takes its place; -1: none */
    uint64_t replaced_ms; /* when the replacement began */
};

struct crew {
    struct seat seats[WORKERS_MAX];
    uint32_t wanted;
    /* The start of a new worker; borrowed. */
    struct region *region;
    struct config *config;
    const char *node;
    const struct listeners *listeners; /* borrowed */
    const struct admin_doors *admin;   /* borrowed; no doors: no clerk is wanted */
    struct tickets *tickets;           /* borrowed */
    int private_fds[7];                /* the master's own, closed in workers; -1: none */
    /* The past. */
    bool served;           /* some worker has served once */
    uint32_t early_deaths; /* before that */
    bool gave_up;          /* no worker has served, and none will: the start has failed */
    bool ending;           /* the server stops: crew_drain_all was called */
    bool unclean;          /* while the server stopped, a worker had to be killed, or crashed */
    uint64_t watched_ms;   /* the watchdog's last check */
    uint64_t awake_ms;     /* silence before this time does not count: the whole machine slept */
};

void crew_init(struct crew *crew, struct region *region, struct config *config, const char *node,
               const struct listeners *listeners, const struct admin_doors *admin,
               struct tickets *tickets);
void crew_fini(struct crew *crew);

/* Sets the number of workers; the next crew_tick starts or drains workers. */
void crew_want(struct crew *crew, uint32_t wanted);
/* Marks every worker for replacement; each replacement serves before the old worker leaves. */
void crew_swap(struct crew *crew);
/* Sends a control frame to each worker, without waiting for any: a worker that does not read gets
 * the newest frame of each type when the worker reads again. A worker for whom nothing can be kept
 * is killed and replaced: no worker may go on with old rules. */
void crew_tell(struct crew *crew, enum control_type type, struct slice payload, int fd_pass);
/* Returns the slot of a clerk that has asked for a reload, with the question in *order; -1: none
 * has. Each question is returned once. */
int crew_take_reload(struct crew *crew, struct control_reload *order);
/* Sends the clerk in this slot its answer. */
void crew_answer_clerk(struct crew *crew, int slot, struct slice payload);
/* Drains all workers; no new worker starts. */
void crew_drain_all(struct crew *crew, uint16_t close_code, uint32_t deadline_ms);
void crew_kill_all(struct crew *crew);

/* A child has been reaped; a child that was no worker is ignored. */
void crew_bury(struct crew *crew, pid_t pid, int status, uint64_t now_ms);
/* Does everything that is due at now_ms. crew_wait_ms returns the milliseconds until something is
 * due; -1: nothing is. */
void crew_tick(struct crew *crew, uint64_t now_ms);
int crew_wait_ms(const struct crew *crew, uint64_t now_ms);

/* fds has WORKERS_MAX elements, one for each seat; fd is -1 for a seat without a process. */
void crew_poll_prepare(const struct crew *crew, struct pollfd *fds);
void crew_poll_done(struct crew *crew, const struct pollfd *fds);

uint32_t crew_processes(const struct crew *crew);
uint32_t crew_serving(const struct crew *crew);

#endif
