/*
 * The mailbox's own questions to Redis (scripts, settings, epoch, replicas): sent at once, past the
 * row, and never sent again.
 */
#ifndef WORKER_ASK_H
#define WORKER_ASK_H

#include "common/err.h"
#include "worker/mailbox/mailbox_parts.h"

/* Called once, REDIS_LOST included, but not after ask_drop_all. */
typedef void (*ask_answered)(struct ask *ask, const struct redis_reply *reply);

struct ask {
    TAILQ_ENTRY(ask) link;
    struct mailbox *mailbox; /* NULL: the mailbox is freed */
    ask_answered answered;
    unsigned number; /* of the asker's own meaning */
};

/* The arguments are copied. ERR_DOWN, ERR_NOMEM and others: answered is not called. */
enum err ask_send(struct mailbox *mailbox, const struct slice *args, size_t arg_count,
                  ask_answered answered, unsigned number);
/* The same, by another connection than the mailbox's. */
enum err ask_send_by(struct mailbox *mailbox, struct redis *redis, const struct slice *args,
                     size_t arg_count, ask_answered answered, unsigned number);
/* The mailbox is going: answers still to come are ignored. */
void ask_drop_all(struct mailbox *mailbox);

#endif
