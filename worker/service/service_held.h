/*
 * The messages that one session of a service address has been given and has not acknowledged. Pure.
 *
 * Unlike the messages of a mailbox's feed they are no run of neighbours: the messages in between
 * went to other sessions, and a message that another session left behind comes late with an old
 * seq. So each message is remembered; there are never more than a few times sessions.serviceCredit.
 */
#ifndef WORKER_SERVICE_HELD_H
#define WORKER_SERVICE_HELD_H

#include "common/err.h"
#include "common/seq.h"

enum { SERVICE_HELD_MAX = 4096 };

struct service_letter {
    struct seq seq;
    uint64_t left;   /* its number in the order of leaving, from 1; 0: still queued */
    uint8_t receipt; /* asked for by the sender */
};

/* All zero: nothing is held. */
struct service_held {
    struct service_letter *letters; /* in the order of queueing; NULL when there are none */
    uint32_t count, size;
    uint64_t left_count;
};

/* A message has been given. ERR_FULL: SERVICE_HELD_MAX are held. ERR_NOMEM. */
enum err service_held_add(struct service_held *held, struct seq seq, uint8_t receipt);
bool service_held_has(const struct service_held *held, struct seq seq);
/* The message has left whole. */
void service_held_left(struct service_held *held, struct seq seq);
/* The client acknowledges up to and including the sending of `seq`: takes out all messages that had
 * left by then, and calls `done` for each, in the order of queueing. Returns false, and takes out
 * none, when the message at seq is not held or has not left. */
bool service_held_ack(struct service_held *held, struct seq seq,
                      void (*done)(void *arg, const struct service_letter *letter), void *arg);
/* Frees everything; nothing is held any more. */
void service_held_clear(struct service_held *held);

#endif
