/*
 * Asking the replicas, in rounds, one at a time.
 *
 * WAIT blocks its connection, so WAIT has a connection of its own (mailbox->confirm), and appends,
 * opens and acks never stand behind it. A round marks, reads and waits:
 *
 *   1. by the connection of the appends, behind the appends: SET MARK N
 *   2. when that is answered, by the other connection:        INCR MARK, which must give N + 1
 *                                                             WAIT replicas timeout
 *
 * WAIT asks about the writes of its own connection, and the INCR is a write. Replication keeps the
 * order of all writes, so a replica that has the INCR has everything before the INCR. And the
 * answer N + 1 proves that everything includes the appends: after a fail-over the two connections
 * may reach two servers, and a server that has the mark N has all that was written before N.
 *
 * An append has replica_timeout_ms from its answer on. A WAIT is cut so that the oldest append of
 * the round learns its outcome then; the younger ones go into the next round.
 */
#include "worker/mailbox/mailbox_replica.h"

#include "common/clock.h"
#include "worker/mailbox/call.h"

#include <stdlib.h>

enum {
    WAITS_PER_TIMEOUT = 10, /* at most: replicas that are missing cost Redis no more than this */
    MARK_SECONDS = 3600,    /* the mark of a worker that is gone expires */
};

/* --- holding --- */

static size_t held_bytes(const struct mailbox_appended *appended)
{
    size_t bytes = appended->elsewhere_count * sizeof(struct slice);

    for (size_t i = 0; i < appended->elsewhere_count; i++)
        bytes += appended->elsewhere[i].len;
    return bytes;
}

/* No memory: the message is stored all the same, but its doorbells are not rung there. */
static void drop_places(struct append *append)
{
    append->op.mailbox->counts.places_dropped += append->appended.elsewhere_count;
    append->appended.elsewhere_count = 0;
    append->appended.elsewhere = NULL;
}

void mailbox_replica_hold(struct append *append)
{
    struct mailbox_appended *appended = &append->appended;
    size_t bytes = held_bytes(appended);
    struct slice *copies;
    char *at;

    append->held_ms = clock_monotonic_ms();
    free(append->held);
    append->held = bytes ? malloc(bytes) : NULL;
    if (!append->held) {
        drop_places(append);
        return;
    }
    copies = (struct slice *)(void *)append->held;
    at = append->held + appended->elsewhere_count * sizeof(struct slice);
    for (size_t i = 0; i < appended->elsewhere_count; i++) {
        struct slice place = appended->elsewhere[i];
        memcpy(at, place.data, place.len);
        copies[i] = slice_make(at, place.len);
        at += place.len;
    }
    appended->elsewhere = copies;
}

/* --- deciding --- */

static bool append_is_late(struct op *op, uint64_t now_ms)
{
    return append_of(op)->held_ms + (uint64_t)op->mailbox->replica_timeout_ms <= now_ms;
}

/* The append leaves the row and is reported. */
static void append_decide(struct op *op, bool confirmed)
{
    struct append *append = append_of(op);

    if (!confirmed && append->appended.outcome < MAILBOX_FULL)
        append->appended.outcome = MAILBOX_UNAVAILABLE;
    row_remove(op);
    append_report(append);
    row_free(op);
}

/* Every append in this state is decided, or only the late ones: a caller's callback may put new
 * appends, at the end of the row and in another state. */
static void decide_all(struct mailbox *mailbox, enum op_state state, bool confirmed, bool late_only)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct op *op, *next;

    for (op = TAILQ_FIRST(&mailbox->row.ops); op; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->state == state && (!late_only || append_is_late(op, now_ms)))
            append_decide(op, confirmed);
    }
}

static void round_moves(struct mailbox *mailbox, enum op_state from, enum op_state to)
{
    struct op *op;

    TAILQ_FOREACH(op, &mailbox->row.ops, link)
    if (op->state == from)
        op->state = to;
}

/* The appends of the round that are not late wait for the next round. */
static void round_failed(struct mailbox *mailbox)
{
    decide_all(mailbox, OP_CONFIRMING, false, true);
    round_moves(mailbox, OP_CONFIRMING, OP_ANSWERED);
    mailbox->unconfirmed = true;
}

/* --- the round --- */

static void call_mark(struct call *call, struct mailbox *mailbox, struct slice command)
{
    struct buf *text;

    call_plain(call, mailbox, command);
    text = call_text(call);
    buf_add_text(text, mailbox->prefix);
    buf_add_text(text, "mark:");
    buf_add_text(text, mailbox->place);
    call_text_end(call);
}

static void on_replicas_answered(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;

    mailbox->round = ROUND_NONE;
    if (reply->type == REDIS_ERROR)
        mailbox_trouble(mailbox, reply->text);
    if (mailbox->round_same && reply->type == REDIS_INTEGER && reply->integer >= mailbox->replicas)
        decide_all(mailbox, OP_CONFIRMING, true, false);
    else
        round_failed(mailbox);
}

/* Another number: the two connections reach two servers, or the data is gone. The connection of the
 * appends may be the wrong one, so all connections are made anew. */
static void on_mark_read(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;

    if (ask->number != (unsigned)mailbox->round_number)
        return; /* of a round whose WAIT could not be sent */
    mailbox->round_same =
        reply->type == REDIS_INTEGER && reply->integer == (int64_t)mailbox->round_number + 1;
    if (reply->type == REDIS_ERROR)
        mailbox_trouble(mailbox, reply->text);
    else if (reply->type == REDIS_INTEGER && !mailbox->round_same)
        redis_demoted(mailbox->redis, true);
}

/* Half of the command's time-out at most, so that a WAIT never looks like a Redis that hangs. */
static int64_t wait_ms(const struct mailbox *mailbox)
{
    uint64_t now_ms = clock_monotonic_ms(), oldest_ms = now_ms;
    int64_t left_ms, least_ms = mailbox->replica_timeout_ms / WAITS_PER_TIMEOUT;
    struct op *op;

    TAILQ_FOREACH(op, &mailbox->row.ops, link)
    if (op->state == OP_CONFIRMING && append_of(op)->held_ms < oldest_ms)
        oldest_ms = append_of(op)->held_ms;
    left_ms = mailbox->replica_timeout_ms - (int64_t)(now_ms - oldest_ms);
    if (left_ms > mailbox->command_timeout_ms / 2)
        left_ms = mailbox->command_timeout_ms / 2;
    if (left_ms < least_ms)
        left_ms = least_ms;
    return left_ms > 0 ? left_ms : 1; /* 0 would be for ever */
}

static enum err send_wait(struct mailbox *mailbox)
{
    struct call call;
    enum err err;

    call_mark(&call, mailbox, SLICE("INCR"));
    err = call_ask_by(&call, mailbox->confirm, on_mark_read, (unsigned)mailbox->round_number);
    if (err)
        return err;
    call_plain(&call, mailbox, SLICE("WAIT"));
    call_add_int(&call, mailbox->replicas);
    call_add_int(&call, wait_ms(mailbox));
    return call_ask_by(&call, mailbox->confirm, on_replicas_answered, 0);
}

/* Every append that Redis answered before this answer was written before the mark. */
static void on_marked(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;

    mailbox->round = ROUND_NONE;
    if (reply->type == REDIS_LOST)
        return; /* mailbox_replica_lost follows */
    if (reply->type == REDIS_ERROR) {
        mailbox_trouble(mailbox, reply->text);
        decide_all(mailbox, OP_ANSWERED, false, false);
        return;
    }
    round_moves(mailbox, OP_ANSWERED, OP_CONFIRMING);
    mailbox->round_same = false;
    if (send_wait(mailbox))
        round_failed(mailbox);
    else
        mailbox->round = ROUND_WAITING;
}

void mailbox_replica_ask(struct mailbox *mailbox)
{
    struct call call;

    if (mailbox->round != ROUND_NONE || !redis_is_up(mailbox->confirm))
        return;
    mailbox->round_number += 2;
    call_mark(&call, mailbox, SLICE("SET"));
    call_add_int(&call, (int64_t)mailbox->round_number);
    call_add(&call, SLICE("EX"));
    call_add_int(&call, MARK_SECONDS);
    if (call_ask(&call, on_marked, 0))
        return;
    mailbox->round = ROUND_MARKING;
    mailbox->unconfirmed = false;
}

/* A round decides about its own appends; without a round nothing else would. */
void mailbox_replica_tick(struct mailbox *mailbox)
{
    if (mailbox->round == ROUND_NONE)
        decide_all(mailbox, OP_ANSWERED, false, true);
}

/* The answer to a WAIT that is under way finds no append of its round any more. */
void mailbox_replica_lost(struct mailbox *mailbox)
{
    struct op *op;

    TAILQ_FOREACH(op, &mailbox->row.ops, link)
    if (op->state == OP_ANSWERED || op->state == OP_CONFIRMING) {
        append_of(op)->maybe = true; /* the repetition finds the message */
        row_requeue(op);
    }
}
