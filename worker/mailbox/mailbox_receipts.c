#include "worker/mailbox/mailbox_receipts.h"

#include "worker/mailbox/mailbox_parts.h"

#include <stdlib.h>

enum {
    DUE_STEP = 32,
    SENT_STEP = 32,
    SENT_MAX = 10000,
    RANGES_BYTES_MAX = 128 * 1024,
};

/* --- what is owed --- */

static struct slice line(struct slice *text)
{
    const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    size_t len = end ? (size_t)(end - text->data) : text->len;
    struct slice cut = slice_make(text->data, len);

    *text = end ? slice_make(end + 1, text->len - len - 1) : slice_make("", 0);
    return cut;
}

static bool parse_owed(struct slice text, struct slice stored, struct mailbox_owed *owed)
{
    struct seq at, level;
    bool minus;

    *owed = (struct mailbox_owed){ .text = text };
    owed->state = line(&text);
    owed->to = line(&text);
    owed->from = line(&text);
    owed->in_reply_to = line(&text);
    owed->id = line(&text);
    if (!seq_parse(line(&text), &at) || owed->state.len != 1 || !owed->to.len || !owed->from.len ||
        !owed->id.len)
        return false;
    owed->at_s = (int64_t)at.ms;
    minus = slice_starts(text, SLICE("-"));
    if (seq_parse(slice_make(text.data + minus, text.len - minus), &level) && level.ms <= 9)
        owed->level = minus ? -(int)level.ms : (int)level.ms;
    if (stored.len)
        seq_parse(stored, &owed->stored);
    return true;
}

bool mailbox_debts_next(struct mailbox_debts *debts, struct mailbox_owed *owed)
{
    while (debts->reply && debts->next + 1 < debts->reply->count) {
        struct redis_reply text = redis_reply_at(debts->reply, debts->next),
                           stored = redis_reply_at(debts->reply, debts->next + 1);
        debts->next += 2;
        if (text.type == REDIS_STRING && parse_owed(text.text, stored.text, owed))
            return true;
    }
    return false;
}

/* The i-th element, a number; -1 when it is none. */
static int64_t number_at(const struct redis_reply *reply, size_t i)
{
    struct redis_reply element;

    if (!reply || reply->type != REDIS_ARRAY || i >= reply->count)
        return -1;
    element = redis_reply_at(reply, i);
    return element.type == REDIS_INTEGER && element.integer >= 0 ? element.integer : -1;
}

static enum err put(struct mailbox *mailbox, const struct command *command, op_finish finish,
                    void (*done)(void), void *arg)
{
    const struct op like = { .finish = finish, .done = done, .arg = arg };

    return mailbox_put(mailbox, command, &like);
}

static void on_nothing(struct op *op, const struct redis_reply *reply)
{
    (void)op;
    (void)reply;
}

static bool global_key(struct buf *key, const struct mailbox *mailbox, const char *name)
{
    buf_init(key, 256);
    buf_addf(key, "%s%s", mailbox->prefix, name);
    return !key->failed;
}

void mailbox_settle(struct mailbox *mailbox, struct slice owed_text)
{
    struct command command;
    struct buf key;

    if (global_key(&key, mailbox, "owed")) {
        command_plain(&command, SLICE("ZREM"));
        command_add(&command, buf_slice(&key));
        command_add(&command, owed_text);
        /* When Redis is away, whoever finds it there later finds also that it was sent. */
        (void)put(mailbox, &command, on_nothing, NULL, NULL);
    }
    buf_fini(&key);
}

/* --- acknowledging --- */

static void on_acked(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_acked acked = { .ok = number_at(reply, 0) >= 0,
                                   .more = number_at(reply, 0) == 1,
                                   .debts = { reply, 1 } };

    if (!acked.ok)
        acked.debts.reply = NULL;
    ((mailbox_acked_cb)op->done)(op->arg, &acked);
}

static void add_ranges(struct buf *out, const struct mailbox_range *ranges, size_t count)
{
    char text[SEQ_TEXT_MAX];

    buf_init(out, RANGES_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_add(out, text, seq_format(text, ranges[i].first));
        buf_add_char(out, ' ');
        buf_add(out, text, seq_format(text, ranges[i].last));
        buf_add_char(out, ' ');
    }
}

enum err mailbox_ack_asked(struct mailbox *mailbox, struct slice address, struct slice device,
                           struct seq seq, const struct mailbox_range *ranges, size_t range_count,
                           mailbox_acked_cb done, void *arg)
{
    static const char *const suffixes[1] = { ":cur" };
    struct command command;
    struct slice key;
    struct buf text;
    enum err err = ERR_NOMEM;

    add_ranges(&text, ranges, range_count);
    if (!text.failed && mailbox_keys(mailbox, address, &key, suffixes, 1)) {
        command_script(&command, mailbox, SCRIPT_ACK_ASKED, 1);
        command_add(&command, key);
        command_add(&command, device);
        command_add_seq(&command, seq);
        command_add(&command, slice_of(mailbox->epoch));
        command_add(&command, address);
        command_add_int(&command, MAILBOX_ACK_STEP);
        command_add(&command, buf_slice(&text));
        err = put(mailbox, &command, on_acked, (void (*)(void))done, arg);
    }
    buf_fini(&text);
    return err;
}

/* --- what is due --- */

static void on_due(struct op *op, const struct redis_reply *reply)
{
    int64_t expired = number_at(reply, 0), more = number_at(reply, 1);
    struct mailbox_due due = { .ok = expired >= 0 && more >= 0, .debts = { NULL, 2 } };

    if (due.ok) {
        due.expired = (uint64_t)expired;
        due.more = more == 1;
        due.debts.reply = reply;
    }
    ((mailbox_due_cb)op->done)(op->arg, &due);
}

enum err mailbox_due(struct mailbox *mailbox, mailbox_due_cb done, void *arg)
{
    struct command command;
    struct buf expiring, owed;
    enum err err = ERR_NOMEM;
    bool good = global_key(&expiring, mailbox, "expiring");

    if (global_key(&owed, mailbox, "owed") && good) {
        command_script(&command, mailbox, SCRIPT_DUE, 2);
        command_add(&command, buf_slice(&expiring));
        command_add(&command, buf_slice(&owed));
        command_add_int(&command, DUE_STEP);
        err = put(mailbox, &command, on_due, (void (*)(void))done, arg);
    }
    buf_fini(&expiring);
    buf_fini(&owed);
    return err;
}

/* --- what was sent --- */

enum err mailbox_note_sent(struct mailbox *mailbox, struct slice from, struct slice records,
                           bool keep)
{
    static const char *const suffixes[1] = { ":sent" };
    struct command command;
    struct slice key;
    enum err err;

    if (!mailbox_keys(mailbox, from, &key, suffixes, 1))
        return ERR_NOMEM;
    command_plain(&command, SLICE("XADD"));
    command_add(&command, key);
    command_add(&command, SLICE("MAXLEN"));
    command_add(&command, SLICE("~"));
    command_add_int(&command, SENT_MAX);
    command_add(&command, SLICE("*"));
    command_add(&command, SLICE("m"));
    command_add(&command, records);
    err = put(mailbox, &command, on_nothing, NULL, NULL);
    if (err || !keep)
        return err;
    command_plain(&command, SLICE("EXPIRE"));
    command_add(&command, key);
    command_add_int(&command, 2 * mailbox->retention.age_s + 10000);
    return put(mailbox, &command, on_nothing, NULL, NULL);
}

static void on_sent(struct op *op, const struct redis_reply *reply)
{
    int64_t found = number_at(reply, 0);
    struct mailbox_sent sent = { .ok = found >= 0, .found = found == 1 };

    if (sent.found)
        sent.recipients = redis_reply_at(reply, 1).text;
    else if (sent.ok)
        sent.more = reply_seq(reply, 1, &sent.last);
    ((mailbox_sent_cb)op->done)(op->arg, &sent);
}

enum err mailbox_find_sent(struct mailbox *mailbox, struct slice from, struct slice id,
                           struct seq before, mailbox_sent_cb done, void *arg)
{
    static const char *const suffixes[1] = { ":sent" };
    struct command command;
    struct slice key;

    if (!mailbox_keys(mailbox, from, &key, suffixes, 1))
        return ERR_NOMEM;
    command_script(&command, mailbox, SCRIPT_FIND_SENT, 1);
    command_add(&command, key);
    command_add(&command, id);
    if (before.ms || before.n)
        command_add_seq(&command, seq_previous(before));
    else
        command_add(&command, SLICE("+"));
    command_add_int(&command, SENT_STEP);
    return put(mailbox, &command, on_sent, (void (*)(void))done, arg);
}

/* --- recall --- */

static void on_recalled(struct op *op, const struct redis_reply *reply)
{
    int64_t outcome = number_at(reply, 0);
    bool known = outcome >= MAILBOX_NOT_THERE && outcome < MAILBOX_RECALL_UNKNOWN;
    struct mailbox_recalled recalled = { .outcome = MAILBOX_RECALL_UNKNOWN,
                                         .debts = { known ? reply : NULL, 1 } };

    if (known)
        recalled.outcome = (enum mailbox_recall_outcome)outcome;
    ((mailbox_recalled_cb)op->done)(op->arg, &recalled);
}

enum err mailbox_recall(struct mailbox *mailbox, struct slice address, struct slice from,
                        struct slice id, mailbox_recalled_cb done, void *arg)
{
    static const char *const suffixes[2] = { ":box", ":ids" };
    struct command command;
    struct slice keys[2];

    if (!mailbox_keys(mailbox, address, keys, suffixes, 2))
        return ERR_NOMEM;
    command_script(&command, mailbox, SCRIPT_RECALL, 2);
    command_add(&command, keys[0]);
    command_add(&command, keys[1]);
    command_add(&command, from);
    command_add(&command, id);
    command_add(&command, address);
    return put(mailbox, &command, on_recalled, (void (*)(void))done, arg);
}
