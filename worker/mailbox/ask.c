#include "worker/mailbox/ask.h"

#include <stdlib.h>

static void on_ask_answered(void *arg, const struct redis_reply *reply)
{
    struct ask *ask = arg;

    if (ask->mailbox) {
        TAILQ_REMOVE(&ask->mailbox->asks, ask, link);
        ask->answered(ask, reply);
    }
    free(ask);
}

enum err ask_send_by(struct mailbox *mailbox, struct redis *redis, const struct slice *args,
                     size_t arg_count, ask_answered answered, unsigned number)
{
    struct ask *ask = calloc(1, sizeof *ask);
    enum err err;

    if (!ask)
        return ERR_NOMEM;
    err = redis_command(redis, args, arg_count, on_ask_answered, ask);
    if (err) {
        free(ask);
        return err;
    }
    ask->mailbox = mailbox;
    ask->answered = answered;
    ask->number = number;
    TAILQ_INSERT_TAIL(&mailbox->asks, ask, link);
    return OK;
}

enum err ask_send(struct mailbox *mailbox, const struct slice *args, size_t arg_count,
                  ask_answered answered, unsigned number)
{
    return ask_send_by(mailbox, mailbox->redis, args, arg_count, answered, number);
}

void ask_drop_all(struct mailbox *mailbox)
{
    struct ask *ask;

    while ((ask = TAILQ_FIRST(&mailbox->asks))) {
        TAILQ_REMOVE(&mailbox->asks, ask, link);
        ask->mailbox = NULL;
    }
}
