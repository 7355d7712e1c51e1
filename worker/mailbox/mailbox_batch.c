/*
 * Sending the row: its queued commands leave at the end of a turn, in order. Neighbouring appends
 * leave as one command, a batch. Neighbouring letters of a batch for the same mailbox are a run: a
 * run costs Redis much less than as many letters for different mailboxes.
 *
 * Only the way to Redis and back is shared. Each append gets its own answer, as if it had been sent
 * alone; an error of the whole command (a lost connection, a missing script) is the answer of each.
 */
#include "worker/mailbox/call.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH_LETTERS_MAX = 32, /* more save Redis little, and all wait for the answer of the last */
    BATCH_BYTES_MAX = 256 << 10, /* Redis serves no other client while it runs a command */
    BATCH_ARGS_MAX = CALL_FIRST_KEY + BATCH_LETTERS_MAX * CALL_ARGS_MAX,
};

/* Appends that are sent together. */
struct batch {
    unsigned count;
    struct {
        struct append *append;
        bool begins_run; /* the letter before this one is for another mailbox, or there is none */
    } letters[];
};

/* The appends of the next batch, while the row is walked. */
struct gathering {
    unsigned count;
    size_t bytes;
    struct op *ops[BATCH_LETTERS_MAX];
};

/* An append that is sent alone has its keys (call.h), then names and values of its fields, from, id
 * and body first (mailbox_append.c). Of the keys a batch has the first three. */
enum { LETTER_KEYS = 3, FIELD_FROM = 1, FIELD_ID = 3, FIELD_BODY = 5 };

/* --- the answer --- */

/* The result of the next letter. An array before the result has the places of the run. */
static struct redis_reply next_result(const struct redis_reply *reply, size_t *at,
                                      struct redis_reply *places)
{
    struct redis_reply result = redis_reply_at(reply, (*at)++);

    if (result.type == REDIS_ARRAY) {
        *places = result;
        result = redis_reply_at(reply, (*at)++);
    }
    return result;
}

static void on_batch_answered(void *arg, const struct redis_reply *reply)
{
    struct batch *batch = arg;
    struct redis_reply places = { .type = REDIS_NIL };
    size_t at = 0;

    for (unsigned i = 0; i < batch->count; i++) {
        struct append *append = batch->letters[i].append;
        struct redis_reply result = *reply; /* no array: the whole batch failed */
        if (batch->letters[i].begins_run)
            places = (struct redis_reply){ .type = REDIS_NIL };
        if (reply->type == REDIS_ARRAY)
            result = next_result(reply, &at, &places);
        append->places = &places;
        row_answered(&append->op, &result);
    }
    free(batch);
}

/* --- the command --- */

static const struct slice *fields_of(const struct op *op, size_t *count)
{
    size_t first = CALL_FIRST_KEY + (size_t)(op->args[CALL_KEY_COUNT].data[0] - '0');

    *count = op->arg_count - first;
    return op->args + first;
}

static bool begins_run(const struct gathering *gathering, unsigned i)
{
    return i == 0 || !slice_equal(gathering->ops[i]->args[CALL_FIRST_KEY],
                                  gathering->ops[i - 1]->args[CALL_FIRST_KEY]);
}

static size_t add_keys(const struct gathering *gathering, struct slice *args)
{
    size_t count = 0;

    for (unsigned i = 0; i < gathering->count; i++)
        for (unsigned j = 0; j < LETTER_KEYS && begins_run(gathering, i); j++)
            args[count++] = gathering->ops[i]->args[CALL_FIRST_KEY + j];
    return count;
}

/* A run begins with its form: a digit for each letter, the number of its fields behind the body; of
 * a letter for a known address only, one of P to Y instead of 0 to 9. */
static size_t add_letters(const struct gathering *gathering, struct slice *args)
{
    static char forms[BATCH_LETTERS_MAX]; /* used until redis_command has copied the arguments */
    struct slice *form = NULL;
    size_t at = 0;

    for (unsigned i = 0; i < gathering->count; i++) {
        size_t count;
        const struct slice *fields = fields_of(gathering->ops[i], &count);
        assert(count % 2 == 0 && (count - FIELD_BODY) / 2 < 10);
        forms[i] = (char)((fields[0].data[0] == 'k' ? 'P' : '0') + (count - FIELD_BODY) / 2);
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
        batch->letters[i].append = append_of(gathering->ops[i]);
        batch->letters[i].begins_run = begins_run(gathering, i);
    }
    return batch;
}

static bool send_batch(struct mailbox *mailbox, const struct gathering *gathering)
{
    static struct slice args[BATCH_ARGS_MAX]; /* used until redis_command has copied them */
    struct batch *batch = batch_new(gathering);
    char key_count[16];
    size_t count;

    if (!batch)
        return false;
    count = add_keys(gathering, args + CALL_FIRST_KEY);
    args[0] = SLICE("EVALSHA");
    args[CALL_SCRIPT] = slice_make(mailbox->shas[SCRIPT_APPEND_MANY], SHA_HEX);
    args[CALL_KEY_COUNT] =
        slice_make(key_count, (size_t)snprintf(key_count, sizeof key_count, "%zu", count));
    count += CALL_FIRST_KEY;
    count += add_letters(gathering, args + count);
    if (redis_command(mailbox->redis, args, count, on_batch_answered, batch)) {
        free(batch);
        return false;
    }
    for (unsigned i = 0; i < gathering->count; i++)
        row_sent(gathering->ops[i]);
    return true;
}

static void on_alone_answered(void *arg, const struct redis_reply *reply)
{
    struct op *op = arg;

    if (op->is_append)
        append_of(op)->places = NULL;
    row_answered(op, reply);
}

static bool send_alone(struct op *op)
{
    struct mailbox *mailbox = op->mailbox;

    if (op->script != SCRIPT_NONE) /* a reload may have changed the script's text */
        op->args[CALL_SCRIPT] = slice_make(mailbox->shas[op->script], SHA_HEX);
    if (redis_command(mailbox->redis, op->args, op->arg_count, on_alone_answered, op))
        return false;
    row_sent(op);
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

/* False: Redis takes no more, so no later command may be sent either. */
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

/* From the end of the row: new ops stand behind all that were sent. */
static struct op *first_queued(struct mailbox *mailbox)
{
    struct op *op = TAILQ_LAST(&mailbox->row.ops, op_list), *first = NULL;

    for (size_t left = mailbox->row.queued_count; op && left > 0;
         op = TAILQ_PREV(op, op_list, link))
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
        send_gathered(mailbox, &gathering); /* the rest of the row leaves in a later turn */
}
