#include "worker/delivery/receipts.h"

#include "common/grow.h"
#include "worker/delivery/payment.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_read.h"
#include "worker/mailbox/mailbox_receipts.h"

#include <assert.h>
#include <stdlib.h>

enum { RANGES_MAX = 1024 }; /* of one session, acknowledged and not yet in Redis */

/* Acknowledged ranges in which some message asks for a receipt, on their way to Redis. The cursor
 * is stored only when Redis has the ranges: should the worker end before, the messages come again,
 * and so do their acks. */
struct receipts_job {
    struct office *office;
    struct session *session; /* NULL: the session has ended, or its mailbox was lost */
    struct mailbox_range *ranges;
    uint32_t count, size;
    uint32_t asked; /* the first so many ranges are in the question on its way */
    bool busy;      /* a question is on its way; its answer comes to this job */
    bool cut;       /* there was no room for a range: the cursor must stay before cursor_max */
    struct seq cursor_max;
    struct seq cursor_asked; /* goes with the question on its way */
};

static void job_free(struct receipts_job *job)
{
    free(job->ranges);
    free(job);
}

void receipts_expect(struct session *session, struct seq seq)
{
    if (seq_is_zero(session->receipts.asked_first))
        session->receipts.asked_first = seq;
    if (seq_compare(seq, session->receipts.asked_last) > 0)
        session->receipts.asked_last = seq;
}

static struct receipts_job *job_need(struct session *session)
{
    struct receipts_job *job = session->receipts.job;

    if (job)
        return job;
    job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->office = session->office;
    job->session = session;
    session->receipts.job = job;
    return job;
}

static bool range_room(struct receipts_job *job)
{
    return !grow_reserve(&job->ranges, &job->size, job->count + 1, 4, RANGES_MAX);
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

/* Leaves a range out in which no message asks for a receipt. */
static void add_asked(struct session *session, struct mailbox_range range)
{
    struct receipts_job *job;

    if (seq_compare(range.last, session->receipts.asked_first) < 0 ||
        seq_compare(range.first, session->receipts.asked_last) > 0)
        return;
    job = job_need(session);
    if (job)
        add_range(job, range);
    else
        conn_abort_no_memory(&session->conn); /* after a reconnect the client acknowledges again */
}

void receipts_note_ack(struct session *session, struct seq seq)
{
    const struct feed_acks *acks = &session->reader.feed.acks;
    uint32_t found;

    if (seq_is_zero(session->receipts.asked_first))
        return;
    found = feed_acks_find(acks, seq);
    if (found == acks->count)
        return;
    for (uint32_t i = 0; i < found; i++)
        add_asked(session, (struct mailbox_range){ acks->runs[i].first, acks->runs[i].last });
    add_asked(session, (struct mailbox_range){ acks->runs[found].first, seq });
}

/* Messages up to the cursor wait for no receipt any more. */
static void expect_less(struct session *session)
{
    if (seq_is_zero(session->receipts.asked_first) ||
        seq_compare(session->cursor, session->receipts.asked_first) < 0)
        return;
    if (seq_compare(session->cursor, session->receipts.asked_last) >= 0)
        session->receipts.asked_first = session->receipts.asked_last = (struct seq){ 0, 0 };
    else
        session->receipts.asked_first = seq_next(session->cursor);
}

static struct seq cursor_of(const struct session *session, const struct receipts_job *job)
{
    return job->cut && seq_compare(job->cursor_max, session->cursor) < 0 ? job->cursor_max
                                                                         : session->cursor;
}

static void job_ask(struct receipts_job *job);

static void job_finish(struct receipts_job *job)
{
    struct session *session = job->session;

    job->count -= job->asked;
    if (job->count)
        memmove(job->ranges, job->ranges + job->asked, job->count * sizeof *job->ranges);
    job->asked = 0;
    if (job->count || seq_compare(cursor_of(session, job), job->cursor_asked) > 0) {
        job_ask(job);
    } else if (!job->cut) {
        session->receipts.job = NULL;
        job_free(job);
    }
}

static void on_ranges_acked(void *arg, struct mailbox_acked *acked)
{
    struct receipts_job *job = arg;

    payment_pay_all(job->office, &acked->debts);
    if (!job->session) {
        job_free(job);
        return;
    }
    job->busy = false;
    if (!conn_is_open(&job->session->conn))
        return; /* receipts_forget follows */
    if (!acked->ok)
        job->office->catch_up_again = true;
    else if (acked->more)
        job_ask(job);
    else
        job_finish(job);
}

static void job_ask(struct receipts_job *job)
{
    struct session *session = job->session;

    if (job->busy)
        return;
    job->asked = job->count;
    job->cursor_asked = cursor_of(session, job);
    job->busy =
        mailbox_ack_asked(job->office->mailbox, session_address(session), session_device(session),
                          job->cursor_asked, job->ranges, job->count, on_ranges_acked, job) == OK;
    if (!job->busy)
        job->office->catch_up_again = true;
}

void receipts_store_cursor(struct session *session)
{
    expect_less(session);
    if (session->receipts.job)
        job_ask(session->receipts.job);
    else
        /* The next ack makes up for a cursor that cannot be stored now; until then mail may come
         * again. */
        mailbox_ack(session->office->mailbox, session_address(session), session_device(session),
                    session->cursor, NULL, NULL);
}

void receipts_retry(struct session *session)
{
    if (session->receipts.job)
        job_ask(session->receipts.job);
}

void receipts_forget(struct session *session)
{
    struct receipts_job *job = session->receipts.job;

    session->receipts = (struct session_receipts){ 0 };
    if (job && job->busy)
        job->session = NULL;
    else if (job)
        job_free(job);
}
