/*
 * Embedded storage: the master starts a Redis as its child, as the workers' user, with a
 * configuration of its own, starts it again when it dies, and ends it last.
 *
 * Workers connect to its unix socket as to any Redis; the master itself says no word to it. All
 * that the master knows comes from the process (its exit, its pipe). A change of its settings ends
 * the Redis gently and starts it anew, which costs the workers a reconnect.
 */
#ifndef MASTER_EMBEDDED_H
#define MASTER_EMBEDDED_H

#include "config/config.h"
#include "master/embedded_home.h"
#include "master/embedded_log.h"
#include "shm/storage.h"

#include <sys/types.h>

enum { EMBEDDED_SOCKET_SIZE = 108 };

struct embedded_settings { /* what a running Redis was started with */
    char program[STORAGE_PATH_SIZE];
    char socket[EMBEDDED_SOCKET_SIZE]; /* relative to the folder, or absolute */
    bool fsync;                        /* mailbox.durability is fsync */
    int64_t memory_max;
};

struct embedded {
    bool used; /* dataSource is embedded:DIR; everything else is void otherwise */
    struct embedded_home home;
    struct privileges privileges;
    struct embedded_settings settings; /* of the next start */
    struct region *region;             /* borrowed; NULL before embedded_begin */
    struct storage_view view;          /* as published */
    struct embedded_log log;
    int said_fd; /* the pipe of its output; -1: none */
    uint64_t settled_ms;
    uint64_t begun_ms; /* embedded_begin */
    uint64_t due_ms;   /* without a process: when to start one */
    uint32_t backoff_ms;
    bool asked;       /* the process has been told to end */
    uint64_t kill_ms; /* asked: when patience ends; 0: SIGKILL was sent */
    bool ending;      /* no other process follows */
    bool in_start;    /* no process has served yet, and the start of the server waits for one */
    uint32_t early_deaths;
    bool gave_up; /* no process has served, and none will: the start has failed */
};

/* Is there a program to start, when the config asks for embedded storage? False with the reason in
 * why. */
bool embedded_judge(const struct config *config, char *why, size_t why_size);

/* Takes the folder (embedded_home_open), which can take seconds when a Redis was left behind. True,
 * with nothing done, when the config asks for no embedded storage. Call embedded_close after either
 * result. */
bool embedded_open(struct embedded *embedded, const struct config *config, char *why,
                   size_t why_size);
void embedded_close(struct embedded *embedded);

/* From now on embedded_tick starts and watches the Redis. */
void embedded_begin(struct embedded *embedded, struct region *region, uint64_t now_ms);
/* After a reload: a Redis whose settings differ is ended, and another one started. True when the
 * workers that the reload replaces should wait for that (embedded_awaited). */
bool embedded_configure(struct embedded *embedded, const struct config *config, uint64_t now_ms);

/* Does everything that is due. embedded_wait_ms returns the milliseconds until something is due;
 * -1: nothing is. */
void embedded_tick(struct embedded *embedded, uint64_t now_ms);
int embedded_wait_ms(const struct embedded *embedded, uint64_t now_ms);
/* said_fd has something to read. */
void embedded_hear(struct embedded *embedded, uint64_t now_ms);
/* A child has been reaped. False: the child was not this Redis. */
bool embedded_bury(struct embedded *embedded, pid_t pid, int status, uint64_t now_ms);

/* Should workers wait for the Redis before they start? No longer than some seconds, as a large file
 * may take long to load: then workers serve without storage until the Redis is ready. */
bool embedded_awaited(const struct embedded *embedded, uint64_t now_ms);
/* The server stops, and no worker is left: ends the Redis gently, or when hurried within two
 * seconds. Call until true: no process is left. */
bool embedded_stopped(struct embedded *embedded, bool hurried, uint64_t now_ms);

#endif
