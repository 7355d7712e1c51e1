/*
 * What one session of a service address has been given and has not acknowledged.
 *
 * Unlike a mailbox's feed it is no row of neighbours: what lies between went to other sessions, and
 * what another left behind comes late with an old seq. So each one is remembered; there are never
 * more than a few times sessions.serviceCredit. Pure.
 */
#ifndef WORKER_SERVICE_HELD_H
#define WORKER_SERVICE_HELD_H

#include "common/err.h"
#include "common/seq.h"

enum { SERVICE_HELD_MAX = 4096 };

struct service_letter {
    struct seq seq;
    uint64_t left;   /* its place in the order of leaving; 0: it is still queued */
    uint8_t receipt; /* asked for by the sender */
};

struct service_held {
    struct service_letter *letters; /* in the order of queueing; NULL when there are none */
    uint32_t count, size;
    uint64_t left_count;
};

/* ERR_FULL: SERVICE_HELD_MAX. ERR_NOMEM. */
enum err service_held_add(struct service_held *held, struct seq seq, uint8_t receipt);
bool service_held_has(const struct service_held *held, struct seq seq);
/* It has left whole. */
void service_held_left(struct service_held *held, struct seq seq);
/* The client acknowledges up to and including the sending of `seq`: takes out all that had left by
 * then and calls `done` for each, in the order of queueing. False, and none: that one is not held,
 * or has not left. */
bool service_held_ack(struct service_held *held, struct seq seq,
                      void (*done)(void *arg, const struct service_letter *letter), void *arg);
void service_held_clear(struct service_held *held);

#endif
