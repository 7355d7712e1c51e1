/*
 * Sending the row: what waits in it leaves at the end of a turn, in order, the appends that stand
 * one behind the other as one command. Those of them that are for the same mailbox and stand one
 * behind the other are a run, which costs Redis much less than as many for different ones.
 *
 * Only the way to Redis and back is shared. Each append is told its own answer, as if it had gone
 * alone; what the whole command meets (it was lost, the script was not there) all of it have met.
 */
#include "worker/mailbox/mailbox_parts.h"

#include <assert.h>
#include <stdlib.h>

enum {
    BATCH_LETTERS_MAX = 32, /* more save Redis little, and it answers a command only at its end */
    BATCH_BYTES_MAX = 256 << 10, /* one command keeps Redis from everybody else for its time */
    BATCH_HEAD = 3,              /* EVALSHA, the script, how many keys */
    BATCH_ARGS_MAX = BATCH_HEAD + BATCH_LETTERS_MAX * OP_ARGS_MAX, /* one of them is dropped */
};

/* Appends that are sent together. */
struct batch {
    unsigned count;
    struct {
        struct op *op;
        bool begins_run; /* the letter before it is for another mailbox, or there is none */
    } letters[];
};

/* Those that are to be, while the row is walked. */
struct gathering {
    unsigned count;
    size_t bytes;
    struct op *ops[BATCH_LETTERS_MAX];
};

/* An append as it would go alone (mailbox_append.c): EVALSHA, the script, how many keys, these,
 * then the names and values of its fields, of which from, id and body are the first. */
enum {
    ALONE_KEY_COUNT = 2,
    ALONE_KEYS,
    LETTER_KEYS = 3,
    FIELD_FROM = 1,
    FIELD_ID = 3,
    FIELD_BODY = 5
};

/* --- what Redis says --- */

/* What it said of the next letter; the places, if they stand before it. */
static struct redis_reply next_said(const struct redis_reply *reply, size_t *at,
                                    struct redis_reply *places)
{
    struct redis_reply said = redis_reply_at(reply, (*at)++);

    if (said.type == REDIS_ARRAY) {
        *places = said;
        said = redis_reply_at(reply, (*at)++);
    }
    return said;
}

static void on_batch_answer(void *arg, const struct redis_reply *reply)
{
    struct batch *batch = arg;
    struct redis_reply places = { .type = REDIS_NIL };
    size_t at = 0;

    for (unsigned i = 0; i < batch->count; i++) {
        struct op *op = batch->letters[i].op;
        struct redis_reply said = *reply; /* all of it failed */
        if (batch->letters[i].begins_run)
            places = (struct redis_reply){ .type = REDIS_NIL };
        if (reply->type == REDIS_ARRAY)
            said = next_said(reply, &at, &places);
        op->places = &places;
        mailbox_answered(op, &said);
    }
    free(batch);
}

/* --- what it is asked --- */

static const struct slice *fields_of(const struct op *op, size_t *count)
{
    size_t first = ALONE_KEYS + (size_t)(op->args[ALONE_KEY_COUNT].data[0] - '0');

    *count = op->arg_count - first;
    return op->args + first;
}

static bool begins_run(const struct gathering *gathering, unsigned i)
{
    return i == 0 || !slice_equal(gathering->ops[i]->args[ALONE_KEYS],
                                  gathering->ops[i - 1]->args[ALONE_KEYS]);
}

static size_t add_keys(const struct gathering *gathering, struct slice *args)
{
    size_t count = 0;

    for (unsigned i = 0; i < gathering->count; i++)
        for (unsigned j = 0; j < LETTER_KEYS && begins_run(gathering, i); j++)
            args[count++] = gathering->ops[i]->args[ALONE_KEYS + j];
    return count;
}

/* A run begins with its form, which has the number of further fields of each letter as a digit. */
static size_t add_letters(const struct gathering *gathering, struct slice *args)
{
    static char forms[BATCH_LETTERS_MAX]; /* one a worker: of use only while it is sent */
    struct slice *form = NULL;
    size_t at = 0;

    for (unsigned i = 0; i < gathering->count; i++) {
        size_t count;
        const struct slice *fields = fields_of(gathering->ops[i], &count);
        assert(count % 2 == 0 && (count - FIELD_BODY) / 2 < 10);
        forms[i] = (char)('0' + (count - FIELD_BODY) / 2);
        if (begins_run(gathering, i)) {
            form = &args[at++];
            *form = slice_make(forms + i, 0);
        }
        assert(form); /* the first letter begins a run */
        form->len++;
        args[at++] = fields[FIELD_FROM];
        args[at++] = fields[FIELD_ID];
        for (size_t j = FIELD_BODY; j < count; j++)
            args[at++] = fields[j];
    }
    return at;
}

static struct batch *batch_new(const struct gathering *gathering)
{
    struct batch *batch = malloc(sizeof *batch + gathering->count * sizeof batch->letters[0]);

    if (!batch)
        return NULL;
    batch->count = gathering->count;
    for (unsigned i = 0; i < gathering->count; i++) {
        batch->letters[i].op = gathering->ops[i];
        batch->letters[i].begins_run = begins_run(gathering, i);
    }
    return batch;
}

static bool send_batch(struct mailbox *mailbox, const struct gathering *gathering)
{
    static struct slice args[BATCH_ARGS_MAX]; /* one a worker: of use only in here */
    struct command head;
    struct batch *batch = batch_new(gathering);
    size_t count;

    if (!batch)
        return false;
    count = add_keys(gathering, args + BATCH_HEAD);
    command_script(&head, mailbox, SCRIPT_APPEND_MANY, (unsigned)count);
    memcpy(args, head.args, sizeof head.args[0] * BATCH_HEAD);
    count += BATCH_HEAD;
    count += add_letters(gathering, args + count);
    if (redis_command(mailbox->redis, args, count, on_batch_answer, batch)) {
        free(batch);
        return false;
    }
    for (unsigned i = 0; i < gathering->count; i++)
        mailbox_sent(gathering->ops[i]);
    return true;
}

static void on_answer(void *arg, const struct redis_reply *reply)
{
    struct op *op = arg;

    op->places = NULL;
    mailbox_answered(op, reply);
}

static bool send_alone(struct op *op)
{
    struct mailbox *mailbox = op->mailbox;

    if (op->script != SCRIPT_NONE) /* a reload may have made another of it */
        op->args[1] = slice_make(mailbox->shas[op->script], SHA_HEX);
    if (redis_command(mailbox->redis, op->args, op->arg_count, on_answer, op))
        return false;
    mailbox_sent(op);
    return true;
}

static bool send_gathered(struct mailbox *mailbox, struct gathering *gathering)
{
    bool good = true;

    if (gathering->count > 1)
        good = send_batch(mailbox, gathering);
    else if (gathering->count == 1)
        good = send_alone(gathering->ops[0]);
    gathering->count = 0;
    gathering->bytes = 0;
    return good;
}

/* False: it could not be, nor can what comes behind it. */
static bool send_next(struct op *op, struct gathering *gathering)
{
    if (op->script != SCRIPT_APPEND)
        return send_gathered(op->mailbox, gathering) && send_alone(op);
    if ((gathering->count == BATCH_LETTERS_MAX || gathering->bytes + op->bytes > BATCH_BYTES_MAX) &&
        !send_gathered(op->mailbox, gathering))
        return false;
    gathering->ops[gathering->count++] = op;
    gathering->bytes += op->bytes;
    return true;
}

/* What is new is at the end of the row, behind all that has no answer yet. */
static struct op *first_queued(struct mailbox *mailbox)
{
    struct op *op = TAILQ_LAST(&mailbox->row, op_row), *first = NULL;

    for (size_t left = mailbox->queued_count; op && left > 0; op = TAILQ_PREV(op, op_row, link))
        if (op->state == OP_QUEUED) {
            first = op;
            left--;
        }
    return first;
}

void mailbox_send_queued(struct mailbox *mailbox)
{
    struct gathering gathering;
    bool good = true;

    gathering.count = 0;
    gathering.bytes = 0;
    for (struct op *op = first_queued(mailbox);
         op && good && redis_backlog(mailbox->redis) < BACKLOG_BYTES_MAX; op = TAILQ_NEXT(op, link))
        if (op->state == OP_QUEUED)
            good = send_next(op, &gathering);
    if (good)
        send_gathered(mailbox, &gathering); /* what is left goes with a later turn */
}
