/*
 * Leases: a worker's place stands in the sorted set PREFIXplaces, with the time until which the
 * worker lives. That time is by the clock of Redis, so no clock of a host matters.
 */
#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"
#include "worker/mailbox/mailbox_places.h"

/* The places, then two more elements: the time and the count of losses. */
static bool parse_leased(struct mailbox *mailbox, const struct redis_reply *reply,
                         struct mailbox_lease_answer *answer)
{
    size_t count = reply->count - 2;
    struct seq us, losses;

    if (!mailbox_answer_seq(reply, count, &us) || !mailbox_answer_seq(reply, count + 1, &losses))
        return false;
    answer->now_us = us.ms;
    answer->losses = losses.ms;
    answer->count = mailbox_answer_places(mailbox, reply, count);
    answer->places = mailbox->places;
    return answer->count > 0;
}

static void on_leased(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_lease_answer answer = { .ok = false };

    if (reply && reply->type == REDIS_ARRAY && reply->count > 2)
        answer.ok = parse_leased(op->mailbox, reply, &answer);
    ((mailbox_leased_cb)op->done)(op->arg, &answer);
}

enum err mailbox_lease(struct mailbox *mailbox, int64_t seconds, struct slice hello, bool lost,
                       mailbox_leased_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_LEASE);
    call_global_key(&call, "places");
    call_global_key(&call, "losses");
    call_add(&call, slice_of(mailbox->place));
    call_add_int(&call, seconds * 1000);
    buf_addf(call_text(&call), "%sw:", mailbox->prefix);
    call_text_end(&call);
    call_add(&call, hello);
    call_add(&call, lost ? SLICE("1") : SLICE("0"));
    return call_put(&call, on_leased, (op_done)done, arg);
}

static void on_lease_ended(struct op *op, const struct redis_reply *reply)
{
    (void)op;
    (void)reply;
}

void mailbox_end_lease(struct mailbox *mailbox, struct slice place)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("ZREM"));
    call_global_key(&call, "places");
    call_add(&call, place);
    (void)call_put(&call, on_lease_ended, NULL, NULL); /* after an error the lease ends by itself */
}
