/*
 * What the two files of the worker share, and nobody else sees: worker.c (the process: making its
 * parts, wiring them, its clock and its turn) and worker_master.c (the conversation with the
 * master).
 */
#ifndef WORKER_PARTS_H
#define WORKER_PARTS_H

#include "common/control.h"
#include "worker/clerk/clerk.h"
#include "worker/delivery/neighbours.h"
#include "worker/entrance/gate.h"
#include "worker/io/loop.h"
#include "worker/session/office.h"

struct worker {
    struct office office;
    struct clerk *clerk; /* NULL: the process serves clients */
    struct gate *gate;
    struct neighbours neighbours;
    struct loop_watch control_watch;
    struct control_reader control;
    struct loop_timer tick, beat, start_late, deadline;
    struct loop_timer pause; /* ends when a page that waits for a time may leave */
    int control_fd;
    bool is_late; /* WAIT_FOR_REDIS_MS are over */
    bool serving; /* the gate is open, and the master knows */
    bool failed;  /* the worker must not be started again as it is */
    uint32_t drain_cursor, beats;
    uint64_t drain_until_ms;
    uint64_t tick_due_ns;       /* when the next tick should come; 0: none has been set */
    uint64_t last_in, last_out; /* messages at the last beat, for the rates */
};

/* ---- worker_master.c ---- */

/* Puts the limits and the log level of office->config into force. */
void worker_apply_config(struct office *office);
/* Makes TLS contexts of the certificates in office->config, unless `before` had the same, and wipes
 * the private keys in the config. ERR_NOMEM: what was in force stays. */
enum err worker_take_certificates(struct office *office, const struct config *before);
/* Opens the gate and tells the master; does nothing the second time, or while draining. */
void worker_serve(struct worker *worker);
/* The same, once Redis, the mailboxes and the other nodes are known. */
void worker_serve_when_ready(struct worker *worker);
/* Begins to leave: no new connections, a goodbye with this code to each session, and the end of the
 * process after deadline_ms at the latest. */
void worker_drain(struct worker *worker, uint16_t code, uint32_t deadline_ms);
/* A bounded step of the goodbyes, once a turn while draining. */
void worker_drain_step(struct worker *worker);
/* For the loop: the drain deadline; WAIT_FOR_REDIS_MS are over; the socketpair is readable. */
void worker_on_drain_deadline(void *arg);
void worker_on_start_late(void *arg);
void worker_on_control(void *arg, int fd, unsigned events);

#endif
