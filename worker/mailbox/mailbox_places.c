/*
 * The sessions of an address in Redis: the fields of its `:at` (worker/mailbox/place.h).
 *
 * Each field is written and removed by itself, so no command writes again what another worker or
 * session has changed meanwhile.
 */
#include "worker/mailbox/mailbox_places.h"

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

/* --- removing --- */

static void on_fields_removed(struct op *op, const struct redis_reply *reply)
{
    if (op->done)
        ((mailbox_done_cb)op->done)(op->arg, reply && reply->type == REDIS_INTEGER);
}

void mailbox_leave(struct mailbox *mailbox, struct slice address)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("HDEL"));
    call_keys(&call, address, CALL_KEYS(":at"));
    call_add(&call, slice_of(mailbox->place));
    (void)call_put(&call, on_fields_removed, NULL, NULL);
}

enum err mailbox_leave_session(struct mailbox *mailbox, struct slice address, uint64_t number,
                               mailbox_done_cb done, void *arg)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("HDEL"));
    call_keys(&call, address, CALL_KEYS(":at"));
    place_session_add_field(call_text(&call), slice_of(mailbox->place), number);
    call_text_end(&call);
    return call_put(&call, on_fields_removed, (op_done)done, arg);
}

void mailbox_forget_place(struct mailbox *mailbox, struct slice address, struct slice place)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_FORGET);
    call_keys(&call, address, CALL_KEYS(":at"));
    call_add(&call, place);
    buf_addf(call_text(&call), "%sw:", mailbox->prefix);
    buf_add_slice(&mailbox->text, place);
    call_text_end(&call);
    (void)call_put(&call, on_fields_removed, NULL, NULL);
}

/* --- asking --- */

static void on_where_answered(struct op *op, const struct redis_reply *reply)
{
    const struct at_session *sessions = NULL;
    bool ok = reply && reply->type == REDIS_ARRAY;
    size_t count = ok ? mailbox_answer_sessions(op->mailbox, reply, &sessions) : 0;

    ((mailbox_where_cb)op->done)(op->arg, ok, sessions, count);
}

enum err mailbox_where(struct mailbox *mailbox, struct slice address, mailbox_where_cb done,
                       void *arg)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("HGETALL"));
    call_keys(&call, address, CALL_KEYS(":at"));
    return call_put(&call, on_where_answered, (op_done)done, arg);
}

static void on_fields_answered(struct op *op, const struct redis_reply *reply)
{
    struct mailbox *mailbox = op->mailbox;
    size_t count = reply && reply->type == REDIS_ARRAY ? reply->count : 0;

    count = mailbox_answer_places(mailbox, reply, count);
    ((mailbox_fields_cb)op->done)(op->arg, mailbox->places, count);
}

enum err mailbox_fields(struct mailbox *mailbox, struct slice address, mailbox_fields_cb done,
                        void *arg)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("HKEYS"));
    call_keys(&call, address, CALL_KEYS(":at"));
    return call_put(&call, on_fields_answered, (op_done)done, arg);
}
