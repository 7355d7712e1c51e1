#include "worker/delivery/receipts.h"

#include "common/json.h"
#include "worker/delivery/carrier.h"
#include "worker/doorbell.h"

#include <assert.h>
#include <stdlib.h>

enum {
    RANGES_MAX = 1024,     /* acknowledged, and not yet told to Redis */
    GIVE_UP_S = 24 * 3600, /* on one whose mailbox takes nothing */
    BODY_MAX = 8192,
};

/* ---- paying ---- */

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

/* Every attempt makes the same. */
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
    if (owed->level) /* one that follows a message stays behind it */
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

static void settle(const struct payment *payment)
{
    mailbox_settle(payment->office->mailbox, slice_make(payment->text, payment->text_len));
}

static void fail(const struct payment *payment)
{
    stats_add(payment->office->stats, STAT_receipts_failed, 1);
    settle(payment);
}

/* before: what lies there before it; the same as seq: not known. */
static void ring(const struct payment *payment, const struct mailbox_appended *appended,
                 struct seq before)
{
    struct slice to = payment->to;
    struct bus_position position = { appended->seq, before };
    struct doorbell stored = { &to, &position, 1 };
    struct remote remote = { 0 };

    remote_note(&remote, payment->office, appended->elsewhere, appended->elsewhere_count, to,
                position);
    doorbell_ring(payment->office, &stored, &remote, (struct slice){ 0 }, payment->msg);
    remote_fini(&remote);
}

/* Settled only when the doorbell has been rung: a worker that is killed in between leaves it to
 * another, who finds it stored and rings again. */
static void on_paid(void *arg, const struct mailbox_appended *appended)
{
    struct payment *payment = arg;
    struct office *office = payment->office;

    switch (appended->outcome) {
    case MAILBOX_STORED:
        stats_add(office->stats, STAT_receipts_sent, 1);
        ring(payment, appended, appended->before);
        settle(payment);
        break;
    case MAILBOX_REPEATED:
        ring(payment, appended, appended->seq);
        settle(payment);
        break;
    case MAILBOX_FULL:
    case MAILBOX_UNASKED:
        fail(payment);
        break;
    case MAILBOX_UNAVAILABLE:
    case MAILBOX_UNKNOWN: /* it stays owed, and is tried again by whoever looks first */
        if (office->mailbox && loop_unix_s(office->loop) - payment->at_s > GIVE_UP_S)
            fail(payment);
        break;
    }
    payment_free(payment);
}

/* It was sent, and that was not noted, so long ago that another append would not be recognised as
 * the same. One that would be says also where the recipient is. */
static bool is_long_stored(const struct office *office, const struct mailbox_owed *owed)
{
    return !seq_is_zero(owed->stored) &&
           loop_unix_s(office->loop) - owed->at_s > office->config->mailbox.dedupe_s / 2;
}

void receipts_pay(struct office *office, const struct mailbox_owed *owed)
{
    struct payment *payment = payment_new(office, owed);
    struct mailbox_letter letter = {
        .address = owed->to,
        .from = owed->from,
        .id = owed->id,
        .level = (int8_t)owed->level,
    };

    if (!payment)
        return; /* it stays owed */
    if (is_long_stored(office, owed)) {
        ring(payment, &(struct mailbox_appended){ .seq = owed->stored }, owed->stored);
        settle(payment);
        payment_free(payment);
        return;
    }
    letter.body = msg_slice(payment->msg);
    if (mailbox_append(office->mailbox, &letter, on_paid, payment))
        payment_free(payment);
}

void receipts_pay_all(struct office *office, struct mailbox_debts *debts)
{
    struct mailbox_owed owed;

    while (mailbox_debts_next(debts, &owed))
        receipts_pay(office, &owed);
}

/* ---- what a session acknowledges ---- */

/* Acknowledged ranges in which somebody asked, on their way to Redis. Until it has them the cursor
 * is not stored: should all end here, what they acknowledge comes again, and so does the ack. */
struct receipts_job {
    struct mailbox_range *ranges;
    uint32_t count, size;
    uint32_t asked; /* of those, the first so many are what Redis has been asked about */
    bool busy;
    bool cut; /* there was no room for a range: the cursor must stay before it */
    struct seq cursor_max;
    struct seq cursor_asked; /* stored with those */
};

void receipts_expect(struct session *session, struct seq seq)
{
    if (seq_is_zero(session->asked_first))
        session->asked_first = seq;
    if (seq_compare(seq, session->asked_last) > 0)
        session->asked_last = seq;
}

static struct receipts_job *job_need(struct session *session)
{
    if (!session->receipts)
        session->receipts = calloc(1, sizeof *session->receipts);
    return session->receipts;
}

static bool range_room(struct receipts_job *job)
{
    uint32_t size = job->size ? job->size * 2 : 4;
    struct mailbox_range *ranges;

    if (job->count < job->size)
        return true;
    ranges = size <= RANGES_MAX ? realloc(job->ranges, size * sizeof *ranges) : NULL;
    if (!ranges)
        return false;
    job->ranges = ranges;
    job->size = size;
    return true;
}

static void add_range(struct receipts_job *job, struct mailbox_range range)
{
    struct mailbox_range *last = job->count > job->asked ? &job->ranges[job->count - 1] : NULL;

    if (last && seq_compare(seq_next(last->last), range.first) == 0) {
        last->last = range.last;
        return;
    }
    if (range_room(job)) {
        assert(job->ranges);
        job->ranges[job->count++] = range;
        return;
    }
    if (!job->cut || seq_compare(range.first, job->cursor_max) <= 0)
        job->cursor_max = seq_previous(range.first);
    job->cut = true;
}

/* What nobody asked about is left out. */
static void add_asked(struct session *session, struct mailbox_range range)
{
    struct receipts_job *job;

    if (seq_compare(range.last, session->asked_first) < 0 ||
        seq_compare(range.first, session->asked_last) > 0)
        return;
    job = job_need(session);
    if (job)
        add_range(job, range);
    else
        conn_abort(&session->conn); /* no memory: it is acknowledged again after a reconnect */
}

void receipts_note_ack(struct session *session, struct seq seq)
{
    const struct feed_acks *acks = &session->feed.acks;
    uint32_t found;

    if (seq_is_zero(session->asked_first))
        return;
    found = feed_acks_find(acks, seq);
    if (found == acks->count)
        return;
    for (uint32_t i = 0; i < found; i++)
        add_asked(session, (struct mailbox_range){ acks->runs[i].first, acks->runs[i].last });
    add_asked(session, (struct mailbox_range){ acks->runs[found].first, seq });
}

/* From the cursor on down nothing is waited for any more. */
static void expect_less(struct session *session)
{
    if (seq_is_zero(session->asked_first) || seq_compare(session->cursor, session->asked_first) < 0)
        return;
    if (seq_compare(session->cursor, session->asked_last) >= 0)
        session->asked_first = session->asked_last = (struct seq){ 0, 0 };
    else
        session->asked_first = seq_next(session->cursor);
}

static struct seq cursor_of(const struct session *session, const struct receipts_job *job)
{
    return job->cut && seq_compare(job->cursor_max, session->cursor) < 0 ? job->cursor_max
                                                                         : session->cursor;
}

static void go(struct session *session);

static void finished(struct session *session)
{
    struct receipts_job *job = session->receipts;

    job->count -= job->asked;
    memmove(job->ranges, job->ranges + job->asked, job->count * sizeof *job->ranges);
    job->asked = 0;
    if (job->count || seq_compare(cursor_of(session, job), job->cursor_asked) > 0) {
        go(session);
    } else if (!job->cut) {
        free(job->ranges);
        free(job);
        session->receipts = NULL;
    }
}

static void on_acked(void *arg, struct mailbox_acked *acked)
{
    struct session *session = carrier_session(arg);
    struct office *office = carrier_office();

    receipts_pay_all(office, &acked->debts);
    if (!session || !session->receipts)
        return;
    session->receipts->busy = false;
    if (!acked->ok)
        office->catch_up_again = true;
    else if (acked->more)
        go(session);
    else
        finished(session);
}

static void go(struct session *session)
{
    struct receipts_job *job = session->receipts;

    if (job->busy)
        return;
    job->asked = job->count;
    job->cursor_asked = cursor_of(session, job);
    job->busy = mailbox_ack_asked(session->office->mailbox, session_address(session),
                                  session_device(session), job->cursor_asked, job->ranges,
                                  job->count, on_acked, carrier_name(session)) == OK;
    if (!job->busy)
        session->office->catch_up_again = true;
}

void receipts_store_cursor(struct session *session)
{
    expect_less(session);
    if (session->receipts)
        go(session);
    else
        /* A cursor that cannot be stored now is made up for by the next one; until then mail may
         * come again. */
        mailbox_ack(session->office->mailbox, session_address(session), session_device(session),
                    session->cursor, NULL, NULL);
}

void receipts_retry(struct session *session)
{
    if (session->receipts)
        go(session);
}

void receipts_forget(struct session *session)
{
    if (session->receipts)
        free(session->receipts->ranges);
    free(session->receipts);
    session->receipts = NULL;
    session->asked_first = session->asked_last = (struct seq){ 0, 0 };
}
