#include "worker/mailbox/mailbox_receipts.h"

#include "common/utf8.h"
#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

enum {
    DUE_STEP = 32,                /* messages, and receipts, that one call finds */
    SENT_STEP = 32,               /* entries that one call searches */
    SENT_STEP_BYTES = 256 * 1024, /* and their bytes, and one entry more */
    SENT_MAX = 10000,             /* entries of a sender's log */
};

/* --- what is owed --- */

/* Returns the text before the next line's end, and cuts both off. */
static struct slice next_line(struct slice *text)
{
    const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    size_t len = end ? (size_t)(end - text->data) : text->len;
    struct slice cut = slice_make(text->data, len);

    *text = end ? slice_make(end + 1, text->len - len - 1) : slice_make("", 0);
    return cut;
}

/* STATE, TO, FROM, IN_REPLY_TO, ID, SINCE, LEVEL: a line each. */
static bool parse_owed(struct slice text, struct slice stored, struct mailbox_owed *owed)
{
    struct seq at, level;
    bool minus;

    *owed = (struct mailbox_owed){ .text = text };
    owed->state = next_line(&text);
    owed->to = next_line(&text);
    owed->from = next_line(&text);
    owed->in_reply_to = next_line(&text);
    owed->id = next_line(&text);
    if (!seq_parse(next_line(&text), &at) || owed->state.len != 1 || !owed->to.len ||
        !owed->from.len || !owed->id.len || !utf8_valid(owed->text))
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

/* A command whose answer changes nothing. */
static void on_noted(struct op *op, const struct redis_reply *reply)
{
    (void)op;
    (void)reply;
}

void mailbox_settle(struct mailbox *mailbox, struct slice owed_text)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("ZREM"));
    call_global_key(&call, "owed");
    call_add(&call, owed_text);
    /* After an error the receipt is found again later, and its append is a repetition. */
    (void)call_put(&call, on_noted, NULL, NULL);
}

/* --- acknowledging --- */

static void on_asked_acked(struct op *op, const struct redis_reply *reply)
{
    int64_t more = mailbox_answer_number(reply, 0), moved = mailbox_answer_number(reply, 1);
    struct mailbox_acked acked = { .ok = more >= 0, .more = more == 1, .debts = { NULL, 2 } };

    if (acked.ok)
        acked.debts.reply = reply;
    if (moved > 1)
        op->mailbox->counts.devices_forgotten += (uint64_t)moved - 1;
    ((mailbox_acked_cb)op->done)(op->arg, &acked);
}

enum err mailbox_ack_asked(struct mailbox *mailbox, struct slice address, struct slice device,
                           struct seq seq, const struct mailbox_range *ranges, size_t range_count,
                           mailbox_acked_cb done, void *arg)
{
    struct call call;
    struct buf *text;

    call_script(&call, mailbox, SCRIPT_ACK_ASKED);
    call_keys(&call, address, CALL_KEYS(":cur"));
    call_add(&call, device);
    call_add_seq(&call, seq);
    call_add(&call, slice_of(mailbox->epoch));
    call_add(&call, address);
    call_add_int(&call, MAILBOX_ACK_STEP);
    text = call_text(&call);
    for (size_t i = 0; i < range_count; i++) {
        call_text_seq(text, ranges[i].first);
        call_text_seq(text, ranges[i].last);
    }
    call_text_end(&call);
    return call_put(&call, on_asked_acked, (op_done)done, arg);
}

/* --- what is due --- */

static void on_due_answered(struct op *op, const struct redis_reply *reply)
{
    int64_t expired = mailbox_answer_number(reply, 0), more = mailbox_answer_number(reply, 1);
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
    struct call call;

    call_script(&call, mailbox, SCRIPT_DUE);
    call_global_key(&call, "expiring");
    call_global_key(&call, "owed");
    call_add_int(&call, DUE_STEP);
    return call_put(&call, on_due_answered, (op_done)done, arg);
}

/* --- what was sent --- */

/* The sender's log ends by itself some time after its last use. */
static enum err prolong_sent(struct mailbox *mailbox, struct slice from)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("EXPIRE"));
    call_keys(&call, from, CALL_KEYS(":sent"));
    call_add_int(&call, 2 * mailbox->retention.age_s + 10000);
    return call_put(&call, on_noted, NULL, NULL);
}

enum err mailbox_note_sent(struct mailbox *mailbox, struct slice from, struct slice records,
                           bool keep)
{
    struct call call;
    enum err err;

    call_plain(&call, mailbox, SLICE("XADD"));
    call_keys(&call, from, CALL_KEYS(":sent"));
    call_add(&call, SLICE("MAXLEN"));
    call_add(&call, SLICE("~"));
    call_add_int(&call, SENT_MAX);
    call_add(&call, SLICE("*"));
    call_add(&call, SLICE("m"));
    call_add(&call, records);
    err = call_put(&call, on_noted, NULL, NULL);
    return err || !keep ? err : prolong_sent(mailbox, from);
}

static void on_sent_searched(struct op *op, const struct redis_reply *reply)
{
    int64_t found = mailbox_answer_number(reply, 0);
    struct mailbox_sent sent = { .ok = found >= 0, .found = found == 1 };

    if (sent.found) {
        sent.recipients = redis_reply_at(reply, 1).text;
        sent.ok = utf8_valid(sent.recipients); /* the `result` names the recipients */
    } else if (sent.ok) {
        int64_t entries = mailbox_answer_number(reply, 2), bytes = mailbox_answer_number(reply, 3);
        sent.more = mailbox_answer_seq(reply, 1, &sent.last);
        sent.entries = entries > 0 ? (uint64_t)entries : 0;
        sent.bytes = bytes > 0 ? (uint64_t)bytes : 0;
    }
    ((mailbox_sent_cb)op->done)(op->arg, &sent);
}

enum err mailbox_find_sent(struct mailbox *mailbox, struct slice from, struct slice id,
                           struct seq before, mailbox_sent_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_FIND_SENT);
    call_keys(&call, from, CALL_KEYS(":sent"));
    call_add(&call, id);
    if (seq_is_zero(before))
        call_add(&call, SLICE("+"));
    else
        call_add_seq(&call, seq_previous(before));
    call_add_int(&call, SENT_STEP);
    call_add_int(&call, SENT_STEP_BYTES);
    return call_put(&call, on_sent_searched, (op_done)done, arg);
}

/* --- recall --- */

static void on_recalled(struct op *op, const struct redis_reply *reply)
{
    int64_t outcome = mailbox_answer_number(reply, 0);
    bool known = outcome >= MAILBOX_NOT_THERE && outcome < MAILBOX_RECALL_UNKNOWN;
    struct mailbox_recalled recalled = { .outcome = MAILBOX_RECALL_UNKNOWN,
                                         .debts = { known ? reply : NULL, 1 } };

    if (known)
        recalled.outcome = (enum mailbox_recall_outcome)outcome;
    ((mailbox_recalled_cb)op->done)(op->arg, &recalled);
}

enum err mailbox_recall(struct mailbox *mailbox, struct slice address, struct slice from,
                        struct slice id, uint16_t lane, mailbox_recalled_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_RECALL);
    call.lane = lane;
    call_keys(&call, address, CALL_KEYS(":box", ":ids"));
    call_add(&call, from);
    call_add(&call, id);
    call_add(&call, address);
    return call_put(&call, on_recalled, (op_done)done, arg);
}
