#include "worker/mailbox/row.h"

#include "common/clock.h"

#include <stdlib.h>

enum {
    ROW_MAX = 100000,
    ROW_BYTES_MAX = 64 << 20,
};

/* --- ops --- */

static bool slice_lies_in(struct slice arg, const struct msg *msg)
{
    return msg && arg.len && arg.data >= msg->data && arg.data + arg.len <= msg->data + msg->len;
}

static void copy_args(struct op *op, struct slice *args, const struct op *like,
                      const struct msg *kept)
{
    char *at = (char *)(args + like->arg_count);

    op->args = args;
    for (size_t i = 0; i < like->arg_count; i++) {
        args[i] = like->args[i];
        if (slice_lies_in(args[i], kept))
            continue;
        if (args[i].len)
            memcpy(at, args[i].data, args[i].len);
        args[i].data = at;
        at += args[i].len;
    }
}

/* One block: the op, its arguments, their bytes. */
static struct op *op_new(const struct op *like, size_t head_size, const struct msg *kept)
{
    size_t bytes = head_size + like->arg_count * sizeof(struct slice);
    struct op *op;

    for (size_t i = 0; i < like->arg_count; i++)
        bytes += slice_lies_in(like->args[i], kept) ? 0 : like->args[i].len;
    op = malloc(bytes);
    if (!op)
        return NULL;
    memset(op, 0, head_size);
    *op = *like;
    op->bytes = bytes;
    copy_args(op, (struct slice *)(void *)((char *)op + head_size), like, kept);
    return op;
}

void row_free(struct op *op)
{
    if (op->is_append) {
        msg_unref(append_of(op)->kept);
        free(append_of(op)->held);
    }
    free(op);
}

/* --- the row --- */

void row_init(struct row *row)
{
    TAILQ_INIT(&row->ops);
    turns_init(&row->turns);
}

bool row_is_loaded(const struct row *row)
{
    return row->count >= ROW_MAX / 8 || row->bytes >= ROW_BYTES_MAX / 4;
}

static bool row_is_full(const struct row *row, size_t bytes)
{
    return row->count >= ROW_MAX || row->bytes + bytes > ROW_BYTES_MAX;
}

static void row_enter(struct row *row, struct op *op)
{
    op->state = OP_QUEUED;
    TAILQ_INSERT_TAIL(&row->ops, op, link);
    row->queued_count++;
    if (op->lane)
        turns_enter(&row->turns, op);
}

static enum err row_add(struct mailbox *mailbox, struct op *op)
{
    struct row *row = &mailbox->row;

    if (row_is_full(row, op->bytes)) {
        row_free(op);
        return ERR_DOWN;
    }
    op->mailbox = mailbox;
    op->since_ms = clock_monotonic_ms();
    op->cost = op->bytes + TURNS_LETTER_COST;
    row->count++;
    row->bytes += op->bytes;
    row->newest = op;
    if (op->lane && !turns_admit(&row->turns, op->lane)) {
        op->state = OP_WAITING;
        turns_wait(&row->turns, op);
        mailbox->counts.turns_waited++;
        return OK;
    }
    row_enter(row, op);
    row->put_late = true;
    return OK;
}

void row_take_turns(struct mailbox *mailbox)
{
    struct row *row = &mailbox->row;
    struct op *op;

    while ((op = turns_next(&row->turns)))
        row_enter(row, op);
}

enum err row_put(struct mailbox *mailbox, const struct op *like)
{
    struct op *op = op_new(like, sizeof(struct op), NULL);

    return op ? row_add(mailbox, op) : ERR_NOMEM;
}

/* The copies of a message for many recipients are put one behind the other: its bytes count once.
 */
static size_t kept_bytes(const struct row *row, const struct msg *kept)
{
    struct op *before = row->newest;

    if (!kept || (before && before->is_append && append_of(before)->kept == kept))
        return 0;
    return kept->len;
}

enum err row_put_append(struct mailbox *mailbox, const struct op *like, struct msg *kept)
{
    struct op *op = op_new(like, sizeof(struct append), kept);

    if (!op)
        return ERR_NOMEM;
    op->is_append = true;
    op->bytes += kept_bytes(&mailbox->row, kept);
    append_of(op)->kept = kept ? msg_ref(kept) : NULL;
    return row_add(mailbox, op);
}

void row_remove(struct op *op)
{
    struct row *row = &op->mailbox->row;

    assert(row->count > 0 && row->bytes >= op->bytes);
    assert(op->state != OP_QUEUED || row->queued_count > 0);
    if (op->state == OP_WAITING) {
        turns_remove(&row->turns, op);
    } else {
        TAILQ_REMOVE(&row->ops, op, link);
        assert(TAILQ_FIRST(&row->ops) != op); /* the caller may free it */
        turns_leave(&row->turns, op);
    }
    row->count--;
    row->bytes -= op->bytes;
    if (row->newest == op)
        row->newest = NULL;
    if (op->state == OP_QUEUED)
        row->queued_count--;
    assert(row->queued_count <= row->count && (row->count > 0 || row->bytes == 0));
}

void row_requeue(struct op *op)
{
    struct row *row = &op->mailbox->row;

    if (op->state != OP_QUEUED)
        row->queued_count++;
    op->state = OP_QUEUED;
    assert(row->queued_count <= row->count);
}

void row_sent(struct op *op)
{
    struct mailbox *mailbox = op->mailbox;

    if (op->state == OP_QUEUED) {
        assert(mailbox->row.queued_count > 0);
        mailbox->row.queued_count--;
    }
    op->state = OP_SENT;
    if (op->is_append) {
        mailbox->counts.retried += append_of(op)->maybe;
        mailbox->unconfirmed = true;
    }
}

static void finish_op(struct op *op, const struct redis_reply *reply)
{
    row_remove(op);
    op->finish(op, reply);
    row_free(op);
}

/* --- giving up --- */

typedef bool (*op_test)(struct op *op, uint64_t limit);

/* From first on: the hopeless ops go over to `given`. */
static void gather_hopeless(struct op *first, op_test hopeless, uint64_t limit,
                            struct op_list *given)
{
    struct op *op, *next;

    for (op = first; op; op = next) {
        next = TAILQ_NEXT(op, link);
        if ((op->state == OP_QUEUED || op->state == OP_WAITING) && hopeless(op, limit)) {
            row_remove(op);
            TAILQ_INSERT_TAIL(given, op, link);
        }
    }
}

/* All hopeless ops are taken out before the first callback is called: an op that a callback puts is
 * not given up with them. */
static void give_up(struct mailbox *mailbox, op_test hopeless, uint64_t limit)
{
    struct op_list given = TAILQ_HEAD_INITIALIZER(given);
    struct row *row = &mailbox->row;
    struct op *op;

    if (row->queued_count > 0)
        gather_hopeless(TAILQ_FIRST(&row->ops), hopeless, limit, &given);
    for (uint16_t lane = 1; lane <= TURNS_LANES && row->turns.count > 0; lane++)
        gather_hopeless(turns_first(&row->turns, lane), hopeless, limit, &given);
    while ((op = TAILQ_FIRST(&given))) {
        TAILQ_REMOVE(&given, op, link);
        op->finish(op, NULL);
        row_free(op);
    }
}

static bool was_never_sent(struct op *op, uint64_t limit)
{
    (void)limit;
    return !(op->is_append && append_of(op)->maybe);
}

void row_give_up_unsent(struct mailbox *mailbox)
{
    give_up(mailbox, was_never_sent, 0);
}

static bool was_never_sent_and_is_older(struct op *op, uint64_t limit)
{
    return was_never_sent(op, 0) && op->since_ms <= limit;
}

void row_give_up_unsent_older(struct mailbox *mailbox, uint64_t limit_ms)
{
    give_up(mailbox, was_never_sent_and_is_older, limit_ms);
}

static bool is_older(struct op *op, uint64_t limit)
{
    return op->since_ms <= limit;
}

void row_give_up_older(struct mailbox *mailbox, uint64_t limit_ms)
{
    give_up(mailbox, is_older, limit_ms);
}

/* A later append was carried out: an op that is queued before it can no longer be, in order. What
 * waits before the row is later than both. */
static void give_up_before(struct op *later)
{
    struct mailbox *mailbox = later->mailbox;
    struct op *op, *next;

    for (op = TAILQ_FIRST(&mailbox->row.ops); op && op != later; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->state == OP_QUEUED)
            finish_op(op, NULL);
    }
}

static bool waits_for_turn(struct op *op, uint64_t limit)
{
    (void)limit;
    return op->state == OP_WAITING;
}

void row_fini(struct mailbox *mailbox)
{
    struct op *op;

    give_up(mailbox, waits_for_turn, 0);
    while ((op = TAILQ_FIRST(&mailbox->row.ops))) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see what TAILQ_REMOVE does */
        bool sent = op->state == OP_SENT;
        if (op->is_append)
            append_of(op)->maybe |= op->state != OP_QUEUED;
        row_remove(op);
        op->finish(op, NULL);
        op->mailbox = NULL;
        if (!sent)
            row_free(op);
    }
}

/* --- answers --- */

bool row_can_retry(const struct redis_reply *reply)
{
    return reply->type == REDIS_ERROR && (slice_starts(reply->text, SLICE("NOSCRIPT")) ||
                                          slice_starts(reply->text, SLICE("LOADING")) ||
                                          slice_starts(reply->text, SLICE("MASTERDOWN")) ||
                                          slice_starts(reply->text, SLICE("TRYAGAIN")));
}

/* Nothing is sent until Redis has been prepared: at the next tick, or, as missing scripts can be
 * loaded at once, at the end of this turn. */
static void become_stale(struct mailbox *mailbox, const struct redis_reply *why)
{
    if (mailbox->state == MAILBOX_DOWN)
        return;
    mailbox->state = MAILBOX_STALE;
    if (slice_starts(why->text, SLICE("NOSCRIPT")))
        mailbox->scripts_missing = true;
}

void row_answered(struct op *op, const struct redis_reply *reply)
{
    struct mailbox *mailbox = op->mailbox;

    if (!mailbox) {
        row_free(op);
        return;
    }
    if (reply->type == REDIS_LOST && op->is_append) {
        append_of(op)->maybe = true;
        row_requeue(op);
        return;
    }
    if (row_can_retry(reply)) {
        row_requeue(op);
        become_stale(mailbox, reply);
        return;
    }
    if (reply->type == REDIS_ERROR)
        mailbox_trouble(mailbox, reply->text);
    /* A body is in no mailbox: a letter that is queued before the body, because the scripts were
     * lost, is overtaken by nothing. */
    if (mailbox->row.queued_count > 0 && op->is_append && !op->is_body)
        give_up_before(op);
    if (op->is_append && mailbox->replica) {
        op->finish(op, reply); /* keeps the answer; mailbox_replica.c reports it */
        op->state = OP_ANSWERED;
        turns_leave(&mailbox->row.turns, op); /* Redis has done its part */
        return;
    }
    finish_op(op, reply);
}
