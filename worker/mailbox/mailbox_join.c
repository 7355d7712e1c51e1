/*
 * Joining a group: a group's log is the mailbox of the address "#name", and a worker with
 * subscribers has its place in the log's `:at`. Joining makes no cursor: a cursor begins with a
 * member's first ack, so that a log does not gather one for everybody who ever subscribed.
 */
#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"
#include "worker/mailbox/mailbox_enter.h"

static bool parse_joined(struct mailbox *mailbox, const struct redis_reply *reply,
                         struct mailbox_opened *joined)
{
    struct redis_reply known = redis_reply_at(reply, 0);
    bool good = known.type == REDIS_INTEGER && mailbox_answer_seq(reply, 2, &joined->last) &&
                mailbox_answer_seq(reply, 3, &joined->lost);

    joined->known_device = known.integer == 1;
    if (joined->known_device)
        mailbox_answer_cursor(mailbox, redis_reply_at(reply, 1).text, joined);
    else
        joined->cursor = joined->last;
    return good;
}

static void on_joined(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_opened joined = { .ok = false };

    if (reply && reply->type == REDIS_ARRAY && reply->count >= 4)
        joined.ok = parse_joined(op->mailbox, reply, &joined);
    ((mailbox_opened_cb)op->done)(op->arg, &joined);
}

enum err mailbox_join(struct mailbox *mailbox, struct slice group, struct slice member,
                      mailbox_opened_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_JOIN);
    call_keys(&call, group, CALL_KEYS(":box", ":ids", ":at", ":cur"));
    call_add(&call, slice_of(mailbox->place));
    call_add(&call, member);
    return call_put(&call, on_joined, (op_done)done, arg);
}
