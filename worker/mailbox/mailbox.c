/*
 * A worker's door to all mailboxes: the row of commands without an answer.
 *
 * What is put into it leaves at the end of the turn (mailbox_batch.c). Redis answers in the order
 * of the commands, so the row is in the order of the calls and its head is the next to be answered.
 * A command that met a Redis without our scripts, or (an append) whose answer was lost, goes back
 * to being queued where it stands; when Redis is usable again all that is queued is sent again in
 * order. An append that would be stored after a later one of this worker is given up instead.
 *
 * A caller is told from a turn of the Redis connection or from mailbox_tick, never from a call.
 */
#include "common/clock.h"
#include "common/log.h"
#include "worker/mailbox/mailbox_parts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ROW_MAX = 100000,
    ROW_BYTES_MAX = 64 << 20,
};

/* --- commands --- */

void command_add(struct command *command, struct slice arg)
{
    if (command->count < OP_ARGS_MAX)
        command->args[command->count++] = arg;
}

static char *number_room(struct command *command)
{
    size_t at = command->number_count++;

    return command->numbers[at < 8 ? at : 7];
}

void command_add_int(struct command *command, int64_t value)
{
    char *room = number_room(command);
    int len = snprintf(room, SEQ_TEXT_MAX, "%lld", (long long)value);

    command_add(command, slice_make(room, (size_t)len));
}

void command_add_seq(struct command *command, struct seq seq)
{
    char *room = number_room(command);

    command_add(command, slice_make(room, seq_format(room, seq)));
}

void command_plain(struct command *command, struct slice name)
{
    command->script = SCRIPT_NONE;
    command->count = command->number_count = 0;
    command_add(command, name);
}

void command_script(struct command *command, struct mailbox *mailbox, enum script script,
                    unsigned key_count)
{
    command_plain(command, SLICE("EVALSHA"));
    command->script = script;
    command_add(command, slice_make(mailbox->shas[script], SHA_HEX));
    command_add_int(command, key_count);
}

bool mailbox_keys(struct mailbox *mailbox, struct slice address, struct slice *keys,
                  const char *const *suffixes, unsigned count)
{
    struct buf *buf = &mailbox->keys;
    size_t ends[KEYS_MAX], base;

    buf_reset(buf);
    buf->failed = false;
    mailbox_key(buf, slice_of(mailbox->prefix), address, "");
    base = buf->len;
    for (unsigned i = 0; i < count; i++) {
        if (i > 0 && !buf_reserve(buf, base)) /* so that it does not move meanwhile */
            buf_add(buf, buf->data, base);
        buf_add_text(buf, suffixes[i]);
        ends[i] = buf->len;
    }
    for (unsigned i = 0; i < count && !buf->failed; i++) {
        size_t start = i ? ends[i - 1] : 0;
        keys[i] = slice_make(buf->data + start, ends[i] - start);
    }
    return !buf->failed;
}

/* --- the row --- */

static bool lies_in(struct slice arg, const struct msg *msg)
{
    return msg && arg.len && arg.data >= msg->data && arg.data + arg.len <= msg->data + msg->len;
}

/* What lies in `kept` is not copied: the op holds a reference to it. */
static struct op *op_new(const struct slice *args, size_t count, struct msg *kept)
{
    size_t bytes = sizeof(struct op) + count * sizeof(struct slice);
    struct op *op;
    char *at;

    for (size_t i = 0; i < count; i++)
        bytes += lies_in(args[i], kept) ? 0 : args[i].len;
    op = malloc(bytes);
    if (!op)
        return NULL;
    memset(op, 0, sizeof *op);
    op->kept = kept ? msg_ref(kept) : NULL;
    op->bytes = bytes;
    op->arg_count = count;
    at = (char *)(op->args + count);
    for (size_t i = 0; i < count; i++) {
        op->args[i] = args[i];
        if (lies_in(args[i], kept))
            continue;
        if (args[i].len)
            memcpy(at, args[i].data, args[i].len);
        op->args[i] = slice_make(at, args[i].len);
        at += args[i].len;
    }
    return op;
}

void op_free(struct op *op)
{
    msg_unref(op->kept);
    free(op->held);
    free(op);
}

static void queue(struct op *op)
{
    if (op->state != OP_QUEUED)
        op->mailbox->queued_count++;
    op->state = OP_QUEUED;
}

static void row_remove(struct op *op)
{
    struct mailbox *mailbox = op->mailbox;

    TAILQ_REMOVE(&mailbox->row, op, link);
    assert(TAILQ_FIRST(&mailbox->row) != op); /* what follows may free it */
    mailbox->row_count--;
    mailbox->row_bytes -= op->bytes;
    if (op->state == OP_QUEUED)
        mailbox->queued_count--;
}

void mailbox_finish(struct op *op, const struct redis_reply *reply)
{
    row_remove(op);
    op->finish(op, reply);
    op_free(op);
}

/* Taken out first, so that what the told ones put in is not told too. */
static void give_up(struct mailbox *mailbox, bool (*hopeless)(const struct op *op, uint64_t limit),
                    uint64_t limit)
{
    struct op_row given = TAILQ_HEAD_INITIALIZER(given);
    struct op *op, *next;

    for (op = TAILQ_FIRST(&mailbox->row); op && mailbox->queued_count > 0; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->state == OP_QUEUED && hopeless(op, limit)) {
            row_remove(op);
            TAILQ_INSERT_TAIL(&given, op, link);
        }
    }
    while ((op = TAILQ_FIRST(&given))) {
        TAILQ_REMOVE(&given, op, link);
        op->finish(op, NULL);
        op_free(op);
    }
}

static bool was_never_sent(const struct op *op, uint64_t limit)
{
    (void)limit;
    return !op->maybe;
}

static bool is_too_old(const struct op *op, uint64_t limit)
{
    return op->since_ms <= limit;
}

/* A later append was carried out: what stands before it can not be, in order. */
static void give_up_before(struct op *later)
{
    struct mailbox *mailbox = later->mailbox;
    struct op *op, *next;

    for (op = TAILQ_FIRST(&mailbox->row); op && op != later; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->state == OP_QUEUED)
            mailbox_finish(op, NULL);
    }
}

bool reply_retryable(const struct redis_reply *reply)
{
    return reply->type == REDIS_ERROR && (slice_starts(reply->text, SLICE("NOSCRIPT")) ||
                                          slice_starts(reply->text, SLICE("LOADING")) ||
                                          slice_starts(reply->text, SLICE("MASTERDOWN")) ||
                                          slice_starts(reply->text, SLICE("TRYAGAIN")));
}

/* Everything waits until Redis has been looked at; what must not wait for the next tick does not.
 */
static void stale(struct mailbox *mailbox, const struct redis_reply *why)
{
    if (mailbox->state == MAILBOX_DOWN)
        return;
    mailbox->state = MAILBOX_STALE;
    if (slice_starts(why->text, SLICE("NOSCRIPT")))
        mailbox_prepare(mailbox);
}

void mailbox_answered(struct op *op, const struct redis_reply *reply)
{
    struct mailbox *mailbox = op->mailbox;

    if (!mailbox) {
        op_free(op);
        return;
    }
    if (reply->type == REDIS_LOST && op->is_append) {
        op->maybe = true;
        queue(op);
        return;
    }
    if (reply_retryable(reply)) {
        queue(op);
        stale(mailbox, reply);
        return;
    }
    if (reply->type == REDIS_ERROR)
        mailbox_trouble(mailbox, reply->text);
    if (mailbox->queued_count > 0 && op->is_append)
        give_up_before(op);
    if (op->is_append && mailbox->replica) {
        op->finish(op, reply); /* keeps what was said until the replicas have it too */
        op->state = OP_ANSWERED;
        return;
    }
    mailbox_finish(op, reply);
}

void mailbox_sent(struct op *op)
{
    struct mailbox *mailbox = op->mailbox;

    if (op->state == OP_QUEUED)
        mailbox->queued_count--;
    op->state = OP_SENT;
    mailbox->counts.retried += op->maybe;
    mailbox->unconfirmed |= op->is_append;
}

/* A message for many is counted once. */
static void count_kept(struct op *op)
{
    const struct op *before = TAILQ_LAST(&op->mailbox->row, op_row);

    if (op->kept && !(before && before->kept == op->kept))
        op->bytes += op->kept->len;
}

bool mailbox_is_loaded(const struct mailbox *mailbox)
{
    return mailbox->row_count >= ROW_MAX / 8 || mailbox->row_bytes >= ROW_BYTES_MAX / 4;
}

static bool row_is_full(const struct mailbox *mailbox, size_t bytes)
{
    return mailbox->row_count >= ROW_MAX || mailbox->row_bytes + bytes > ROW_BYTES_MAX;
}

enum err mailbox_put(struct mailbox *mailbox, const struct command *command, const struct op *like)
{
    struct op *op;

    if (mailbox->state == MAILBOX_DOWN || mailbox->fault[0] || !redis_is_up(mailbox->redis))
        return ERR_DOWN;
    if (command->count >= OP_ARGS_MAX)
        return ERR_BAD;
    op = op_new(command->args, command->count, like->kept);
    if (!op)
        return ERR_NOMEM;
    op->mailbox = mailbox;
    count_kept(op);
    if (row_is_full(mailbox, op->bytes)) {
        op_free(op);
        return ERR_DOWN;
    }
    op->script = command->script;
    op->finish = like->finish;
    op->done = like->done;
    op->arg = like->arg;
    op->is_append = like->is_append;
    op->count = like->count;
    op->since_ms = clock_monotonic_ms();
    TAILQ_INSERT_TAIL(&mailbox->row, op, link);
    mailbox->row_count++;
    mailbox->row_bytes += op->bytes;
    mailbox->queued_count++;
    mailbox->put_late = true;
    return OK;
}

/* --- our own questions --- */

static void on_asked(void *arg, const struct redis_reply *reply)
{
    struct op *op = arg;

    if (op->mailbox) {
        TAILQ_REMOVE(&op->mailbox->asks, op, link);
        op->finish(op, reply);
    }
    op_free(op);
}

enum err mailbox_ask(struct mailbox *mailbox, const struct slice *args, size_t count,
                     op_finish finish, unsigned number)
{
    struct op *op = op_new(NULL, 0, NULL);
    enum err err;

    if (!op)
        return ERR_NOMEM;
    err = redis_command(mailbox->redis, args, count, on_asked, op);
    if (err) {
        op_free(op);
        return err;
    }
    op->mailbox = mailbox;
    op->finish = finish;
    op->count = number;
    TAILQ_INSERT_TAIL(&mailbox->asks, op, link);
    return OK;
}

/* --- replicas --- */

/* All that has been answered was sent before this question, and the other way round. */
static void on_replicas(struct op *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;
    bool enough = reply->type == REDIS_INTEGER && reply->integer >= mailbox->replicas;
    struct op *op, *next;

    if (reply->type == REDIS_ERROR)
        mailbox_trouble(mailbox, reply->text);
    for (op = TAILQ_FIRST(&mailbox->row); op; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->state != OP_ANSWERED)
            continue;
        if (reply->type == REDIS_LOST) { /* sent again, it is found to be there, and asked about */
            op->maybe = true;
            queue(op);
            continue;
        }
        if (!enough && op->appended.outcome < MAILBOX_FULL)
            op->appended.outcome = MAILBOX_UNAVAILABLE;
        row_remove(op);
        append_told(op);
        op_free(op);
    }
}

/* WAIT asks about what this connection wrote; the INCR makes that be behind everything that a
 * repetition found, which an earlier connection has written. */
static void ask_replicas(struct mailbox *mailbox)
{
    struct buf tick;
    struct command wait;

    buf_init(&tick, 256);
    buf_addf(&tick, "%stick", mailbox->prefix);
    struct slice incr[2] = { SLICE("INCR"), buf_slice(&tick) };
    command_plain(&wait, SLICE("WAIT"));
    command_add_int(&wait, mailbox->replicas);
    command_add_int(&wait, mailbox->replica_timeout_ms);
    if (!tick.failed && redis_command(mailbox->redis, incr, 2, NULL, NULL) == OK &&
        mailbox_ask(mailbox, wait.args, wait.count, on_replicas, 0) == OK)
        mailbox->unconfirmed = false;
    buf_fini(&tick);
}

void mailbox_flush(struct mailbox *mailbox)
{
    mailbox->put_late = false;
    if (mailbox->state == MAILBOX_UP && mailbox->queued_count > 0)
        mailbox_send_queued(mailbox);
    if (mailbox->replica && mailbox->unconfirmed)
        ask_replicas(mailbox);
}

bool mailbox_flush_again(const struct mailbox *mailbox)
{
    return mailbox->state == MAILBOX_UP &&
           (mailbox->put_late ||
            (mailbox->queued_count > 0 && redis_backlog(mailbox->redis) < BACKLOG_BYTES_MAX));
}

/* --- trouble --- */

static const char *const troubles[TROUBLE_KINDS] = { "OOM",       "READONLY", "MISCONF",
                                                     "WRONGTYPE", "BUSY",     "NOPERM",
                                                     "NOSCRIPT",  "LOADING",  "MASTERDOWN",
                                                     "" };

void mailbox_trouble(struct mailbox *mailbox, struct slice text)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct log_text quoted;
    unsigned kind = 0;

    while (kind < TROUBLE_KINDS - 1 &&
           !(text.len && memmem(text.data, text.len, troubles[kind], strlen(troubles[kind]))))
        kind++;
    mailbox->counts.errors++;
    if (mailbox->warned_ms[kind] && now_ms < mailbox->warned_ms[kind] + 1000)
        return;
    mailbox->warned_ms[kind] = now_ms;
    log_warn("mailbox_refused", "error=%s", log_quote(&quoted, text));
}

/* --- up and down --- */

void mailbox_redis_up(struct mailbox *mailbox)
{
    mailbox->state = MAILBOX_STALE;
    mailbox->fault[0] = 0;
    mailbox->preparing = mailbox->ticking = false;
    mailbox->unconfirmed = false;
    mailbox_prepare(mailbox);
}

void mailbox_redis_down(struct mailbox *mailbox)
{
    bool announced = mailbox->announced;

    mailbox->state = MAILBOX_DOWN;
    mailbox->announced = mailbox->preparing = mailbox->ticking = false;
    give_up(mailbox, was_never_sent, 0);
    if (announced && mailbox->events.down)
        mailbox->events.down(mailbox->events.arg);
}

bool mailbox_is_up(const struct mailbox *mailbox)
{
    return mailbox->announced;
}

const char *mailbox_fault(const struct mailbox *mailbox)
{
    return mailbox->fault;
}

void mailbox_tick(struct mailbox *mailbox)
{
    uint64_t now_ms = clock_monotonic_ms(), keep_ms = (uint64_t)mailbox->retention.dedupe_s * 500;

    if (mailbox->queued_count > 0 && now_ms > keep_ms)
        give_up(mailbox, is_too_old, now_ms - keep_ms);
    if (mailbox->state == MAILBOX_STALE)
        mailbox_prepare(mailbox);
    else if (mailbox->state == MAILBOX_UP)
        mailbox_ask_tick(mailbox);
}

struct mailbox_counts mailbox_take_counts(struct mailbox *mailbox)
{
    struct mailbox_counts counts = mailbox->counts;

    mailbox->counts = (struct mailbox_counts){ 0 };
    return counts;
}

/* --- making it --- */

/* The place without its incarnation, so that a worker that replaces another has the same scripts
 * and Redis does not gather them. */
static bool make_scripts(struct mailbox *mailbox)
{
    const char *colon = strrchr(mailbox->place, ':');
    size_t len = colon ? (size_t)(colon - mailbox->place) : strlen(mailbox->place);

    for (enum script i = 0; i < SCRIPT_COUNT; i++) {
        char *text = mailbox_script(i, slice_make(mailbox->place, len), &mailbox->retention);
        if (!text)
            return false;
        free(mailbox->scripts[i]);
        mailbox->scripts[i] = text;
        mailbox_script_sha(mailbox->scripts[i], mailbox->shas[i]);
    }
    return true;
}

static void take_retention(struct mailbox *mailbox, const struct config *config)
{
    mailbox->retention = (struct retention){
        .messages_max = config->mailbox.messages_max,
        .age_s = config->mailbox.age_s,
        .dedupe_s = config->mailbox.dedupe_s,
        .reject_full = strcmp(config->mailbox.full, "reject") == 0,
    };
}

void mailbox_configure(struct mailbox *mailbox, const struct config *config)
{
    take_retention(mailbox, config);
    if (!make_scripts(mailbox)) {
        log_error("mailbox_limits_kept", "reason=no-memory");
        return;
    }
    if (mailbox->state == MAILBOX_UP)
        mailbox->state = MAILBOX_STALE;
    if (mailbox->state == MAILBOX_STALE) {
        mailbox->preparing = false; /* what it has loaded are the old ones */
        mailbox_prepare(mailbox);
    }
}

struct mailbox *mailbox_new(struct redis *redis, const struct config *config, struct slice place,
                            const struct mailbox_events *events)
{
    struct mailbox *mailbox = calloc(1, sizeof *mailbox);

    if (!mailbox)
        return NULL;
    mailbox->redis = redis;
    mailbox->events = *events;
    TAILQ_INIT(&mailbox->row);
    TAILQ_INIT(&mailbox->asks);
    buf_init(&mailbox->keys, 1 << 20);
    mailbox->fsync = strcmp(config->mailbox.durability, "fsync") == 0;
    mailbox->replica = strcmp(config->mailbox.durability, "replica") == 0;
    mailbox->replicas = config->mailbox.replicas;
    mailbox->replica_timeout_ms = config->mailbox.replica_timeout_ms;
    take_retention(mailbox, config);
    mailbox->prefix = strdup(config->redis_options.prefix);
    mailbox->place = strndup(place.data, place.len);
    if (!mailbox->prefix || !mailbox->place || !make_scripts(mailbox)) {
        mailbox_free(mailbox);
        return NULL;
    }
    return mailbox;
}

/* Redis still holds what was sent; it is freed when its answer comes. */
static void tell_all(struct mailbox *mailbox)
{
    struct op *op;

    while ((op = TAILQ_FIRST(&mailbox->row))) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see what TAILQ_REMOVE does */
        bool sent = op->state == OP_SENT;
        bool answered = op->state == OP_ANSWERED;
        op->maybe |= sent || answered;
        row_remove(op);
        op->finish(op, NULL);
        op->mailbox = NULL;
        if (!sent)
            op_free(op);
    }
    while ((op = TAILQ_FIRST(&mailbox->asks))) {
        TAILQ_REMOVE(&mailbox->asks, op, link);
        op->mailbox = NULL;
    }
}

void mailbox_free(struct mailbox *mailbox)
{
    if (!mailbox)
        return;
    mailbox->state = MAILBOX_DOWN;
    tell_all(mailbox);
    for (enum script i = 0; i < SCRIPT_COUNT; i++)
        free(mailbox->scripts[i]);
    buf_fini(&mailbox->keys);
    free(mailbox->prefix);
    free(mailbox->place);
    free(mailbox->places);
    free(mailbox->at);
    free(mailbox->entries);
    free(mailbox);
}
