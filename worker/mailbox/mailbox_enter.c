/* A session begins: the open script, which registers device and session at an address. */
#include "worker/mailbox/mailbox_enter.h"

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

/* known, cursor, last, lost, devices, trimmed, order, the other sessions */
static bool parse_opened(struct mailbox *mailbox, const struct redis_reply *reply,
                         struct mailbox_opened *opened)
{
    struct redis_reply known = redis_reply_at(reply, 0), devices = redis_reply_at(reply, 4),
                       trimmed = redis_reply_at(reply, 5), order = redis_reply_at(reply, 6),
                       others = redis_reply_at(reply, 7);

    opened->known_device = known.type == REDIS_INTEGER && known.integer == 1;
    /* A cursor of another shape counts as one of another epoch: everything is replayed. */
    mailbox_answer_cursor(mailbox, redis_reply_at(reply, 1).text, opened);
    opened->device_count = (uint32_t)devices.integer;
    opened->opened_us = order.type == REDIS_INTEGER ? (uint64_t)order.integer : 0;
    opened->other_count = mailbox_answer_sessions(mailbox, &others, &opened->others);
    if (trimmed.type == REDIS_INTEGER && trimmed.integer > 0)
        mailbox->counts.trimmed += (uint64_t)trimmed.integer;
    return mailbox_answer_seq(reply, 2, &opened->last) &&
           mailbox_answer_seq(reply, 3, &opened->lost) && devices.type == REDIS_INTEGER;
}

static void on_opened(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_opened opened = { .ok = false };

    if (reply && reply->type == REDIS_ARRAY && reply->count >= 8)
        opened.ok = parse_opened(op->mailbox, reply, &opened);
    ((mailbox_opened_cb)op->done)(op->arg, &opened);
}

/* The session's field of `:at`, or the worker's own. */
static void add_at_field(struct call *call, uint64_t number)
{
    struct slice place = slice_of(call->mailbox->place);

    if (number) {
        place_session_add_field(call_text(call), place, number);
        call_text_end(call);
    } else {
        call_add(call, place);
    }
}

enum err mailbox_enter(struct mailbox *mailbox, struct slice address,
                       const struct mailbox_entrant *entrant, mailbox_opened_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_OPEN);
    call_keys(&call, address, CALL_KEYS(":box", ":ids", ":at", ":cur"));
    call_add(&call, entrant->device);
    call_add(&call, slice_of(mailbox->epoch));
    add_at_field(&call, entrant->number);
    call_add_int(&call, (int64_t)entrant->opened_us);
    if (entrant->late)
        call_add_int(&call, (int64_t)entrant->age_us);
    else
        call_add(&call, SLICE(""));
    return call_put(&call, on_opened, (op_done)done, arg);
}
