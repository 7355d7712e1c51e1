/*
 * The sessions of an address in Redis: the fields of its `:at` (worker/mailbox/place.h).
 *
 * Each field is written and removed by itself, so no command writes again what another worker or
 * session has changed meanwhile.
 */
#include "worker/mailbox/mailbox_places.h"

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

/* KEYS at; ARGV place channel -> how many fields went. A publish there was heard by nobody. Should
 * somebody listen by now, the worker lives and its fields are true: it writes all of them down
 * again whenever it begins to listen, and that is after this script or was before it. */
const char mailbox_forget_text[] =
    "if redis.call('PUBSUB','NUMSUB',ARGV[2])[2]>0 then return 0 end\n"
    "local n,own=0,ARGV[1]..'/'\n"
    "for _,field in ipairs(redis.call('HKEYS',KEYS[1])) do\n"
    "  if field==ARGV[1] or string.sub(field,1,#own)==own then\n"
    "    n=n+redis.call('HDEL',KEYS[1],field)\n"
    "  end\n"
    "end\n"
    "return n";

/* KEYS places losses; ARGV place lease(ms) channels hello lost -> the places that live, and then
 * the time (microseconds) and how often doorbells were lost. Whoever comes, or comes back, says
 * hello to all that live, so that they need not wait for their own next turn to learn of it.
 * Whoever's lease ends may have died between an append and its doorbell. */
const char mailbox_lease_text[] =
    "local t=redis.call('TIME')\n"
    "local now=t[1]*1000+math.floor(t[2]/1000)\n"
    "local ended=redis.call('ZREMRANGEBYSCORE',KEYS[1],'-inf',now)\n"
    "local new=redis.call('ZADD',KEYS[1],now+ARGV[2],ARGV[1])\n"
    "if ended>0 or ARGV[5]=='1' then redis.call('INCR',KEYS[2]) end\n"
    "local live=redis.call('ZRANGE',KEYS[1],0,-1)\n"
    "for _,place in ipairs(new==1 and live or {}) do\n"
    "  if place~=ARGV[1] then redis.call('PUBLISH',ARGV[3]..place,ARGV[4]) end\n"
    "end\n"
    "live[#live+1]=string.format('%.0f',t[1]*1000000+t[2])\n"
    "live[#live+1]=redis.call('GET',KEYS[2]) or '0'\n"
    "return live";

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
