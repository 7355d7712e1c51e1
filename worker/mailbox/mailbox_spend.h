/*
 * What a sender's address has stored, over all workers and hosts: a bucket in Redis that each
 * worker charges now and then (delivery/budget.h says when).
 */
#ifndef WORKER_MAILBOX_SPEND_H
#define WORKER_MAILBOX_SPEND_H

#include "common/err.h"
#include "worker/mailbox/mailbox.h"

struct mailbox_spent {
    struct slice address;                             /* borrowed for the call */
    int64_t bytes, boxes;                             /* stored, begun since the last charge */
    int64_t bytes_per_s, bytes_max, boxes_per_minute; /* a rate of 0: no limit */
};
/* ok false: perhaps charged, perhaps not. left: may be below zero. */
typedef void (*mailbox_spend_cb)(void *arg, bool ok, int64_t bytes_left, int64_t boxes_left);
/* An error is as of mailbox_append: done is not called. */
enum err mailbox_spend(struct mailbox *mailbox, const struct mailbox_spent *spent,
                       mailbox_spend_cb done, void *arg);

#endif
