/* Pages of a mailbox, and the cursors of its devices: one command each. */
#include "worker/mailbox/mailbox_read.h"

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

/* --- pages --- */

static void on_page_read(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_page page = { .ok = false };

    if (reply && mailbox_page_parse(op->mailbox, reply, &page))
        page.end = reply->count < op->wanted;
    ((mailbox_page_cb)op->done)(op->arg, &page);
}

static enum err put_page_call(struct call *call, unsigned count, mailbox_page_cb done, void *arg)
{
    call_add_int(call, count);
    call->wanted = count;
    return call_put(call, on_page_read, (op_done)done, arg);
}

enum err mailbox_read(struct mailbox *mailbox, struct slice address, struct seq after,
                      unsigned count, mailbox_page_cb done, void *arg)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("XRANGE"));
    call_keys(&call, address, CALL_KEYS(":box"));
    call_add_seq(&call, seq_next(after));
    call_add(&call, SLICE("+"));
    call_add(&call, SLICE("COUNT"));
    return put_page_call(&call, count, done, arg);
}

static enum err read_thread(struct mailbox *mailbox, struct slice address, struct slice thread,
                            struct seq before, unsigned count, mailbox_page_cb done, void *arg)
{
    struct call call;
    char room[THREAD_KEY_MAX];

    call_script(&call, mailbox, SCRIPT_THREAD);
    call_keys(&call, address, CALL_KEYS(":box", ":ids", ":th"));
    call_add(&call, mailbox_thread_key(thread, room));
    if (seq_is_zero(before))
        call_add(&call, SLICE(""));
    else
        call_add_seq(&call, before);
    return put_page_call(&call, count, done, arg);
}

enum err mailbox_history(struct mailbox *mailbox, struct slice address, struct slice thread,
                         struct seq before, unsigned count, mailbox_page_cb done, void *arg)
{
    struct call call;

    if (thread.data && thread.len)
        return read_thread(mailbox, address, thread, before, count, done, arg);
    call_plain(&call, mailbox, SLICE("XREVRANGE"));
    call_keys(&call, address, CALL_KEYS(":box"));
    if (seq_is_zero(before))
        call_add(&call, SLICE("+"));
    else
        call_add_seq(&call, seq_previous(before));
    call_add(&call, SLICE("-"));
    call_add(&call, SLICE("COUNT"));
    return put_page_call(&call, count, done, arg);
}

/* --- acknowledging --- */

static void on_cursor_moved(struct op *op, const struct redis_reply *reply)
{
    if (op->done)
        ((mailbox_done_cb)op->done)(op->arg, reply && reply->type == REDIS_INTEGER);
}

enum err mailbox_ack(struct mailbox *mailbox, struct slice address, struct slice device,
                     struct seq seq, mailbox_done_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_ACK);
    call_keys(&call, address, CALL_KEYS(":cur"));
    call_add(&call, device);
    call_add_seq(&call, seq);
    call_add(&call, slice_of(mailbox->epoch));
    return call_put(&call, on_cursor_moved, (op_done)done, arg);
}
