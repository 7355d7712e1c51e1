/*
 * The workers as the master sees them: forks, reaps, replaces, drains and watches them. What to do
 * is decided in supervisor.c; here it is done.
 *
 * Seat i is worker slot i of the shared memory. A seat is given away only after its process has
 * been reaped, so there is never more than one live process in a slot.
 */
#ifndef MASTER_CREW_H
#define MASTER_CREW_H

#include "common/control.h"
#include "config/config.h"
#include "master/supervisor.h"
#include "shm/region.h"

#include <poll.h>
#include <sys/types.h>

struct seat {
    enum seat_state state;
    pid_t pid;      /* 0: no process */
    int control_fd; /* -1: none */
    struct control_reader reader;
    uint32_t backoff_ms;
    uint64_t due_ms;      /* WAITING: when to fork */
    uint64_t started_ms;  /* when it was forked */
    uint64_t kill_ms;     /* DRAINING: when patience ends */
    uint64_t aborted_ms;  /* the watchdog sent SIGABRT then; 0: not */
    bool killed;          /* SIGKILL is on its way */
    bool stale;           /* lives by an old config that only a new process can change */
    int replaced_by;      /* the seat that takes its place; -1: none */
    uint64_t replaced_ms; /* since when that is awaited */
};

struct crew {
    struct seat seats[WORKERS_MAX];
    uint32_t wanted;
    /* What a new worker is started with; borrowed. */
    struct region *region;
    const struct config *config;
    const char *node;
    int listen_fd;
    int private_fds[3]; /* the master's own, closed in workers; -1: none */
    /* What has been. */
    bool served;           /* some worker has been ready once */
    uint32_t early_deaths; /* before that */
    bool gave_up;          /* before that, and there is no point in going on */
    bool unclean;          /* a worker that was told to leave had to be killed, or crashed */
    uint64_t watched_ms;   /* the watchdog's last look */
    uint64_t awake_ms;     /* silence before this was the whole machine's, not the worker's */
};

void crew_init(struct crew *crew, struct region *region, const struct config *config,
               const char *node, int listen_fd);
void crew_fini(struct crew *crew);

/* From the next crew_tick on there are to be so many. */
void crew_want(struct crew *crew, uint32_t wanted);
/* Every worker is to be replaced by a new one, which is ready before the old one leaves. */
void crew_swap(struct crew *crew);
/* To each worker. One that cannot take it is killed (and replaced): it must not go on with old
 * rules. */
void crew_tell(struct crew *crew, enum control_type type, struct slice payload, int fd_pass);
/* All are to leave, and none comes. */
void crew_drain_all(struct crew *crew, uint16_t close_code, uint32_t deadline_ms);
void crew_kill_all(struct crew *crew);

/* After SIGCHLD: collects the dead. */
void crew_reap(struct crew *crew, uint64_t now_ms);
/* Does everything that is due; crew_wait_ms is the time until the next such thing, -1: none. */
void crew_tick(struct crew *crew, uint64_t now_ms);
int crew_wait_ms(const struct crew *crew, uint64_t now_ms);

/* fds has WORKERS_MAX places, place i for seat i (fd -1 where nobody sits). */
void crew_poll_prepare(const struct crew *crew, struct pollfd *fds);
void crew_poll_done(struct crew *crew, const struct pollfd *fds);

uint32_t crew_processes(const struct crew *crew);
uint32_t crew_serving(const struct crew *crew);

#endif
