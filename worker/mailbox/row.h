/*
 * The row: commands that have no answer yet, in the order of sending. That is the order of the
 * calls for the letters of one sender, and for commands that are no letters. Letters past their
 * sender's share wait before the row (turns.h).
 *
 * What is put into the row leaves at the end of the turn (mailbox_batch.c). Redis answers in the
 * order of the commands, so the head of the row is answered next. A command that met a Redis
 * without the scripts is queued again where it stands, and so is an append whose answer was lost;
 * when Redis is usable again, all that is queued is sent in order. An append in the row that would
 * be stored after a later one of the row is given up instead.
 *
 * The row neither sends nor builds commands.
 */
#ifndef WORKER_ROW_H
#define WORKER_ROW_H

#include "common/err.h"
#include "common/msg.h"
#include "worker/mailbox/mailbox_append.h"
#include "worker/mailbox/mailbox_parts.h"

#include <assert.h>

enum op_state {
    OP_WAITING, /* before the row, in its lane */
    OP_QUEUED,  /* leaves at the end of the turn, when the scripts are loaded */
    OP_SENT,
    OP_ANSWERED,   /* an append that waits until the replicas are asked */
    OP_CONFIRMING, /* an append that waits for the answer of the replicas */
};

/* Called when Redis has answered the op, or (reply NULL) when the op is given up. An append that
 * waits for the replicas stays in the row after this call, all others have left. */
typedef void (*op_finish)(struct op *op, const struct redis_reply *reply);
/* A callback of the caller's; op_finish knows its type. */
typedef void (*op_done)(void);

struct op {
    TAILQ_ENTRY(op) link;
    struct mailbox *mailbox; /* NULL: the mailbox is freed, and done was called */
    op_finish finish;
    op_done done; /* may be NULL, if finish allows that */
    void *arg;
    enum op_state state;
    enum script script; /* SCRIPT_NONE: a plain command */
    bool is_append;     /* the op is the beginning of a struct append */
    bool is_body;       /* an append of a body that letters share (mailbox_body.c) */
    bool is_charged;    /* the lane pays for the op (turns.h) */
    uint16_t lane;      /* turns_lane of the sender; 0: none, the op never waits before the row */
    unsigned wanted;    /* bytes that a page may have */
    uint16_t seat;      /* of a page (mailbox_pages.c) */
    uint16_t account;   /* of a page: the place of its address's hash in struct pages */
    uint64_t since_ms;
    size_t bytes; /* of memory: the op, its arguments, the message it keeps alive */
    size_t cost;  /* of an op with a lane */
    size_t arg_count;
    struct slice *args; /* their bytes lie behind the op, or in an append's `kept` */
};

/* An op that is sent again when its answer is lost. */
struct append {
    struct op op;                     /* the first member */
    bool maybe;                       /* an answer was lost: the message may be stored */
    struct msg *kept;                 /* holds the bytes of some arguments; NULL: of none */
    const struct redis_reply *places; /* places from the batch answer; NULL when this reply carries
                                       * its own */
    struct mailbox_appended appended; /* what Redis answered */
    struct mailbox_body *shared;      /* that the letter names; NULL: none, or no longer held */
    char *held; /* mailbox_replica.c: memory of appended.elsewhere while the replicas are asked */
    uint64_t held_ms; /* when Redis answered: the replicas have replicaTimeoutMs from then on */
};
static inline struct append *append_of(struct op *op)
{
    assert(op->is_append);
    return (struct append *)(void *)op;
}
/* Calls the caller's callback with append->appended. */
static inline void append_report(struct append *append)
{
    ((mailbox_appended_cb)append->op.done)(append->op.arg, &append->appended);
}

void row_init(struct row *row);
/* Every callback is called without a reply. Redis still holds an op that was sent: such an op is
 * freed by its answer. */
void row_fini(struct mailbox *mailbox);
bool row_is_loaded(const struct row *row);

/* Puts a copy of the op at the end of the row, or of its lane. Of `like` count script, finish,
 * done, arg, wanted, lane and args; the arguments are copied. ERR_DOWN: the row is full; ERR_NOMEM.
 */
enum err row_put(struct mailbox *mailbox, const struct op *like);
/* row_put of an append. Arguments that lie in kept are not copied: the append holds a reference.
 * kept may be NULL. */
enum err row_put_append(struct mailbox *mailbox, const struct op *like, struct msg *kept);

/* The op that was put last; only until anything else is done with the row. */
static inline struct op *row_last(const struct mailbox *mailbox)
{
    return mailbox->row.newest;
}
/* Ops whose turn has come go into the row. */
void row_take_turns(struct mailbox *mailbox);

/* The op has left for Redis. */
void row_sent(struct op *op);
/* The answer of an op that was sent, REDIS_LOST included. */
void row_answered(struct op *op, const struct redis_reply *reply);
/* The op is to be sent again. */
void row_requeue(struct op *op);
/* Takes the op out of the row; the caller owns the op, until row_free. */
void row_remove(struct op *op);
void row_free(struct op *op);
/* Redis went away: what was never sent is given up. */
void row_give_up_unsent(struct mailbox *mailbox);
/* Redis refuses to become usable: what was never sent and was put before that time is given up. */
void row_give_up_unsent_older(struct mailbox *mailbox, uint64_t limit_ms);
/* What is queued and was put before that time (clock_monotonic_ms) is given up. */
void row_give_up_older(struct mailbox *mailbox, uint64_t limit_ms);

/* An error that passes: the command was not carried out, and can be sent again. */
bool row_can_retry(const struct redis_reply *reply);

#endif
