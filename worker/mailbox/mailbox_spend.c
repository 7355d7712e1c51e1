#include "worker/mailbox/mailbox_spend.h"

#include "worker/mailbox/call.h"

static void on_spent(struct op *op, const struct redis_reply *reply)
{
    struct redis_reply none = { .type = REDIS_NIL };
    struct redis_reply bytes = reply ? redis_reply_at(reply, 0) : none;
    struct redis_reply boxes = reply ? redis_reply_at(reply, 1) : none;
    bool ok = bytes.type == REDIS_INTEGER && boxes.type == REDIS_INTEGER;

    ((mailbox_spend_cb)op->done)(op->arg, ok, ok ? bytes.integer : 0, ok ? boxes.integer : 0);
}

enum err mailbox_spend(struct mailbox *mailbox, const struct mailbox_spent *spent,
                       mailbox_spend_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_SPEND);
    call_keys(&call, spent->address, CALL_KEYS(":spent"));
    call_add_int(&call, spent->bytes);
    call_add_int(&call, spent->boxes);
    call_add_int(&call, spent->bytes_per_s);
    call_add_int(&call, spent->bytes_max);
    call_add_int(&call, spent->boxes_per_minute);
    return call_put(&call, on_spent, (op_done)done, arg);
}
