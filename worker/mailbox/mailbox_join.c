/*
 * Joining a group: a group's log is the mailbox of the address "#name", and a worker with
 * subscribers has its place in the log's `:at`. Joining makes no cursor: a cursor begins with a
 * member's first ack, so that a log does not gather one for everybody who ever subscribed.
 */
#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"
#include "worker/mailbox/mailbox_enter.h"

/* KEYS box ids at cur; ARGV place member|"" -> known, cursor, first, last, lost */
const char mailbox_join_text[] =
    "local cursor=ARGV[2]~='' and redis.call('HGET',KEYS[4],ARGV[2])\n"
    "local lost=redis.call('HGET',KEYS[2],'/lost') or '0-0'\n"
    "redis.call('HSET',KEYS[3],ARGV[1],1)\n"
    "redis.call('EXPIRE',KEYS[3],31536000)\n"
    "local first,last='0-0','0-0'\n"
    "local info=redis.pcall('XINFO','STREAM',KEYS[1])\n"
    "if not info.err then\n"
    "  for j=1,#info,2 do\n"
    "    if info[j]=='last-generated-id' then last=info[j+1] end\n"
    "    if info[j]=='first-entry' and info[j+1] then first=info[j+1][1] end\n"
    "  end\n"
    "end\n"
    "return {cursor and 1 or 0,cursor or '',first,last,lost}";

static bool parse_joined(struct mailbox *mailbox, const struct redis_reply *reply,
                         struct mailbox_opened *joined)
{
    struct redis_reply known = redis_reply_at(reply, 0);
    bool good = known.type == REDIS_INTEGER && mailbox_answer_seq(reply, 2, &joined->first) &&
                mailbox_answer_seq(reply, 3, &joined->last) &&
                mailbox_answer_seq(reply, 4, &joined->lost);

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

    if (reply && reply->type == REDIS_ARRAY && reply->count >= 5)
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
