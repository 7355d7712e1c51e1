#include "worker/delivery/payment.h"

#include "common/json.h"
#include "worker/mailbox/mailbox_append.h"
#include "worker/reach/remote.h"
#include "worker/mailbox/mailbox.h"

#include <stdlib.h>

enum {
    GIVE_UP_S = 24 * 3600, /* on a receipt whose mailbox takes nothing */
    BODY_MAX = 8192,
};

struct payment {
    struct office *office;
    struct msg *msg;
    size_t text_len;
    int64_t at_s;
    struct slice to; /* in text */
    char text[];
};

static const char *subject_of(struct slice state)
{
    switch (state.data[0]) {
    case '2':
        return "delivered";
    case '4':
        return "recalled";
    default:
        return "expired";
    }
}

static void add_member(struct buf *out, const char *name, struct slice value)
{
    buf_addf(out, ",\"%s\":", name);
    json_add_string(out, value);
}

/* Every attempt makes the same bytes, so that Redis recognises a repetition. */
static struct msg *body_of(const struct mailbox_owed *owed)
{
    struct buf out;
    struct msg *msg;

    buf_init(&out, BODY_MAX);
    buf_add_text(&out, "{\"id\":");
    json_add_string(&out, owed->id);
    add_member(&out, "inReplyTo", owed->in_reply_to);
    add_member(&out, "from", owed->from);
    buf_add_text(&out, ",\"to\":[");
    json_add_string(&out, owed->to);
    buf_addf(&out, "],\"subject\":\"%s\",\"content\":\"\",\"type\":4,\"state\":%.1s",
             subject_of(owed->state), owed->state.data);
    if (owed->level) /* a receipt that follows a message stays behind the message */
        buf_addf(&out, ",\"level\":%d", owed->level);
    buf_addf(&out, ",\"createTime\":%lld,\"lastUpdateTime\":%lld}", (long long)owed->at_s,
             (long long)owed->at_s);
    msg = out.failed ? NULL : msg_new(buf_slice(&out), MSG_MAIL, owed->level);
    buf_fini(&out);
    return msg;
}

static void payment_free(struct payment *payment)
{
    msg_unref(payment->msg);
    free(payment);
}

static struct payment *payment_new(struct office *office, const struct mailbox_owed *owed)
{
    struct payment *payment = malloc(sizeof *payment + owed->text.len);

    if (!payment)
        return NULL;
    *payment = (struct payment){
        .office = office, .msg = body_of(owed), .text_len = owed->text.len, .at_s = owed->at_s
    };
    memcpy(payment->text, owed->text.data, owed->text.len);
    payment->to = slice_make(payment->text + (owed->to.data - owed->text.data), owed->to.len);
    if (payment->msg)
        return payment;
    payment_free(payment);
    return NULL;
}

static void settle_debt(const struct payment *payment)
{
    mailbox_settle(payment->office->mailbox, slice_make(payment->text, payment->text_len));
}

static void give_up(const struct payment *payment)
{
    stats_add(payment->office->stats, STAT_receipts_failed, 1);
    settle_debt(payment);
}

/* before: the message that lies before the receipt in its mailbox; the receipt's own seq: not
 * known. */
static void ring_for(const struct payment *payment, const struct mailbox_appended *appended,
                     struct seq before)
{
    struct slice to = payment->to;
    struct bus_position position = { appended->seq, before };
    struct doorbell stored = { &to, &position, 1 };
    struct remote remote = { 0 };

    remote_note(&remote, payment->office, appended->elsewhere, appended->elsewhere_count, to,
                position);
    payment->office->ring(payment->office, &stored, &remote, (struct slice){ 0 }, payment->msg);
    remote_fini(&remote);
}

/* The debt is settled only when the doorbell has been rung: a worker that is killed in between
 * leaves the debt to another worker, which finds the receipt stored and rings again. */
static void on_paid(void *arg, const struct mailbox_appended *appended)
{
    struct payment *payment = arg;
    struct office *office = payment->office;

    switch (appended->outcome) {
    case MAILBOX_STORED:
        stats_add(office->stats, STAT_receipts_sent, 1);
        ring_for(payment, appended, appended->before);
        settle_debt(payment);
        break;
    case MAILBOX_REPEATED:
        ring_for(payment, appended, appended->seq);
        settle_debt(payment);
        break;
    case MAILBOX_FULL:
    case MAILBOX_UNASKED:
    case MAILBOX_NOBODY:
        give_up(payment);
        break;
    case MAILBOX_UNAVAILABLE:
    case MAILBOX_UNKNOWN: /* the receipt stays owed: the next worker that asks tries again */
        if (office->mailbox && loop_unix_s(office->loop) - payment->at_s > GIVE_UP_S)
            give_up(payment);
        break;
    }
    payment_free(payment);
}

/* Was the receipt stored so long ago that another append would not be recognised as a repetition?
 * (An append that is recognised is better: its answer names the recipient's places.) */
static bool is_long_stored(const struct office *office, const struct mailbox_owed *owed)
{
    return !seq_is_zero(owed->stored) &&
           loop_unix_s(office->loop) - owed->at_s > office->config->mailbox.dedupe_s / 2;
}

void payment_pay(struct office *office, const struct mailbox_owed *owed)
{
    struct payment *payment = payment_new(office, owed);
    struct mailbox_letter letter = {
        .address = owed->to,
        .from = owed->from,
        .id = owed->id,
        .lane = mailbox_lane(sessions_key(office->region, owed->from).lo),
        .level = (int8_t)owed->level,
    };

    if (!payment)
        return; /* no memory: the receipt stays owed */
    if (is_long_stored(office, owed)) {
        ring_for(payment, &(struct mailbox_appended){ .seq = owed->stored }, owed->stored);
        settle_debt(payment);
        payment_free(payment);
        return;
    }
    letter.body = msg_slice(payment->msg);
    if (mailbox_append(office->mailbox, &letter, on_paid, payment))
        payment_free(payment);
}

void payment_pay_all(struct office *office, struct mailbox_debts *debts)
{
    struct mailbox_owed owed;

    while (mailbox_debts_next(debts, &owed))
        payment_pay(office, &owed);
}
