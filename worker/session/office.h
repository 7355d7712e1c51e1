/*
 * What the rooms of one worker share: the office. Made by worker.c, passed by pointer, no globals.
 */
#ifndef WORKER_OFFICE_H
#define WORKER_OFFICE_H

#include "common/arena.h"
#include "config/config.h"
#include "shm/region.h"
#include "shm/sessions.h"
#include "shm/stats.h"
#include "worker/wire/conn.h"
#include "worker/session/directory.h"
#include "worker/io/loop.h"

#include <stdint.h>

struct bus;
struct doorbell;
struct groups;
struct leaving;
struct mailbox;
struct nodes;
struct reach;
struct remote;
struct sent;
struct service;
struct session;

struct office {
    struct loop *loop;
    struct config *config; /* in force; replaced by a reload */
    struct region *region;
    struct stats_row *stats;
    struct sessions_writer *table;
    struct bus *bus;
    struct mailbox *mailbox;  /* NULL: no Redis is configured */
    char epoch[40];           /* of the stored data; "" : not known yet */
    uint32_t data_lost_count; /* how often it was found to be lost */
    bool catch_up_lightly;    /* going on, it only lets sessions read on */
    bool catch_up_again;      /* a mailbox could not be opened though Redis is there: soon again */
    uint32_t catch_up_at; /* the place of the next session to be brought up to its mailbox's end */
    struct service *service; /* this worker's part in service addresses */
    struct reach *reach;     /* to other workers, through the bus or through rings */
    struct nodes *nodes;     /* workers of other hosts; NULL: no Redis is configured */
    int64_t clock_ahead_ns;  /* of Redis, before CLOCK_MONOTONIC; until it has been asked the wall
                              * clock's; 0: no Redis is configured */
    struct leaving *leaving; /* sessions that are gone, and that Redis has yet to be told of */
    uint32_t leaving_count;
    uint32_t questions;    /* of signals to other hosts, that Redis has not answered */
    bool stalled;          /* some sessions are */
    bool closed;           /* the worker ends: nothing is kept for later */
    struct sent *sent;     /* to whom what was sent, of this turn; NULL: nothing yet */
    bool expiry_asked;     /* the answer to expiry.c's question has not come */
    struct conn_host host; /* of every session's connection */
    struct directory directory;
    struct groups *groups; /* with subscribers here */
    struct arena arena;    /* of the message in hand; reset before each */
    const char *node;
    uint32_t slot;
    uint64_t incarnation;

    /* Every session by the index in its number; a free index has NULL. */
    struct session **sessions;
    uint32_t session_size, session_used;
    uint32_t *free_indexes;
    uint32_t free_count;
    uint32_t next_generation;

    bool draining;
    uint16_t drain_code;

    /* The way up; worker.c sets both. */

    /* doorbell_ring: messages have been stored, their sessions are to be told. */
    void (*ring)(struct office *office, const struct doorbell *stored, struct remote *remote,
                 struct slice skip_device, struct msg *msg);
    /* service_news: a message has been stored in the mailbox of this service address. */
    void (*work)(struct office *office, struct slice address);
};

#endif
