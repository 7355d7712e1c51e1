/*
 * Who is where, in Redis: the `:at` of an address (worker/mailbox/place.h), and the leases of
 * workers.
 *
 * A lease is a worker's word that it lives: its place in the sorted set PREFIXplaces, with the time
 * by the clock of Redis until which that holds. Nobody's own clock matters.
 */
#include "worker/reach/bus.h"
#include "worker/mailbox/mailbox_parts.h"

#include <stdio.h>
#include <stdlib.h>

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

static enum err put(struct mailbox *mailbox, const struct command *command, op_finish finish,
                    void (*done)(void), void *arg)
{
    const struct op like = { .finish = finish, .done = done, .arg = arg };

    return mailbox_put(mailbox, command, &like);
}

/* --- an address's places --- */

static bool at_key(struct mailbox *mailbox, struct slice address, struct slice *key)
{
    static const char *const suffixes[1] = { ":at" };

    return mailbox_keys(mailbox, address, key, suffixes, 1);
}

static void on_done(struct op *op, const struct redis_reply *reply)
{
    if (op->done)
        ((mailbox_done_cb)op->done)(op->arg, reply && reply->type == REDIS_INTEGER);
}

static enum err remove_field(struct mailbox *mailbox, struct slice address, struct slice field,
                             mailbox_done_cb done, void *arg)
{
    struct command command;
    struct slice key;

    if (!at_key(mailbox, address, &key))
        return ERR_NOMEM;
    command_plain(&command, SLICE("HDEL"));
    command_add(&command, key);
    command_add(&command, field);
    return put(mailbox, &command, on_done, (void (*)(void))done, arg);
}

void mailbox_leave(struct mailbox *mailbox, struct slice address)
{
    /* When Redis is away, whoever publishes to that place finds nobody there and forgets it. */
    (void)remove_field(mailbox, address, slice_of(mailbox->place), NULL, NULL);
}

enum err mailbox_leave_session(struct mailbox *mailbox, struct slice address, uint64_t number,
                               mailbox_done_cb done, void *arg)
{
    struct buf field;
    enum err err;

    buf_init(&field, AT_FIELD_MAX);
    at_add_field(&field, slice_of(mailbox->place), number);
    err = field.failed ? ERR_NOMEM : remove_field(mailbox, address, buf_slice(&field), done, arg);
    buf_fini(&field);
    return err;
}

void mailbox_forget_place(struct mailbox *mailbox, struct slice address, struct slice place)
{
    struct command command;
    struct slice key;
    struct buf channel;

    if (!at_key(mailbox, address, &key))
        return;
    buf_init(&channel, AT_FIELD_MAX);
    buf_addf(&channel, "%sw:", mailbox->prefix);
    buf_add_slice(&channel, place);
    command_script(&command, mailbox, SCRIPT_FORGET, 1);
    command_add(&command, key);
    command_add(&command, place);
    command_add(&command, buf_slice(&channel));
    /* When Redis is away, whoever publishes to that place finds nobody there and comes here. */
    if (!channel.failed)
        (void)put(mailbox, &command, on_done, NULL, NULL);
    buf_fini(&channel);
}

static bool at_reserve(struct mailbox *mailbox, size_t count)
{
    struct at_session *sessions;

    if (count <= mailbox->at_size)
        return true;
    sessions = realloc(mailbox->at, count * sizeof *sessions);
    if (!sessions)
        return false;
    mailbox->at = sessions;
    mailbox->at_size = count;
    return true;
}

size_t mailbox_at(struct mailbox *mailbox, const struct redis_reply *reply,
                  const struct at_session **sessions)
{
    size_t count = 0;

    *sessions = NULL;
    if (reply->type != REDIS_ARRAY || !at_reserve(mailbox, reply->count / 2))
        return 0;
    for (size_t i = 0; i + 1 < reply->count; i += 2) {
        struct redis_reply field = redis_reply_at(reply, i), value = redis_reply_at(reply, i + 1);
        if (field.type == REDIS_STRING && value.type == REDIS_STRING &&
            at_parse(field.text, value.text, &mailbox->at[count]))
            count++;
    }
    *sessions = mailbox->at;
    return count;
}

static void on_where(struct op *op, const struct redis_reply *reply)
{
    const struct at_session *sessions = NULL;
    bool ok = reply && reply->type == REDIS_ARRAY;
    size_t count = ok ? mailbox_at(op->mailbox, reply, &sessions) : 0;

    ((mailbox_where_cb)op->done)(op->arg, ok, sessions, count);
}

enum err mailbox_where(struct mailbox *mailbox, struct slice address, mailbox_where_cb done,
                       void *arg)
{
    struct command command;
    struct slice key;

    if (!at_key(mailbox, address, &key))
        return ERR_NOMEM;
    command_plain(&command, SLICE("HGETALL"));
    command_add(&command, key);
    return put(mailbox, &command, on_where, (void (*)(void))done, arg);
}

static void on_fields(struct op *op, const struct redis_reply *reply)
{
    struct mailbox *mailbox = op->mailbox;
    size_t count = reply && reply->type == REDIS_ARRAY ? reply->count : 0;

    if (!places_reserve(mailbox, count))
        count = 0;
    for (size_t i = 0; i < count; i++)
        mailbox->places[i] = redis_reply_at(reply, i).text;
    ((mailbox_fields_cb)op->done)(op->arg, mailbox->places, count);
}

enum err mailbox_fields(struct mailbox *mailbox, struct slice address, mailbox_fields_cb done,
                        void *arg)
{
    struct command command;
    struct slice key;

    if (!at_key(mailbox, address, &key))
        return ERR_NOMEM;
    command_plain(&command, SLICE("HKEYS"));
    command_add(&command, key);
    return put(mailbox, &command, on_fields, (void (*)(void))done, arg);
}

/* --- leases --- */

static void on_leased(struct op *op, const struct redis_reply *reply)
{
    struct mailbox *mailbox = op->mailbox;
    struct mailbox_lease_answer answer = { .ok = false };
    size_t count = reply && reply->type == REDIS_ARRAY && reply->count > 1 ? reply->count - 2 : 0;
    struct seq us, losses;

    if (count && places_reserve(mailbox, count) && reply_seq(reply, count, &us) &&
        reply_seq(reply, count + 1, &losses)) {
        for (size_t i = 0; i < count; i++)
            mailbox->places[i] = redis_reply_at(reply, i).text;
        answer = (struct mailbox_lease_answer){ .ok = true,
                                                .now_us = us.ms,
                                                .losses = losses.ms,
                                                .places = mailbox->places,
                                                .count = count };
    }
    ((mailbox_leased_cb)op->done)(op->arg, &answer);
}

enum err mailbox_lease(struct mailbox *mailbox, int64_t seconds, struct slice hello, bool lost,
                       mailbox_leased_cb done, void *arg)
{
    struct command command;
    struct buf places, losses, channels;
    enum err err = ERR_NOMEM;

    buf_init(&places, 256);
    buf_init(&losses, 256);
    buf_init(&channels, 256);
    buf_addf(&places, "%splaces", mailbox->prefix);
    buf_addf(&losses, "%slosses", mailbox->prefix);
    buf_addf(&channels, "%sw:", mailbox->prefix);
    command_script(&command, mailbox, SCRIPT_LEASE, 2);
    command_add(&command, buf_slice(&places));
    command_add(&command, buf_slice(&losses));
    command_add(&command, slice_of(mailbox->place));
    command_add_int(&command, seconds * 1000);
    command_add(&command, buf_slice(&channels));
    command_add(&command, hello);
    command_add(&command, lost ? SLICE("1") : SLICE("0"));
    if (!places.failed && !losses.failed && !channels.failed)
        err = put(mailbox, &command, on_leased, (void (*)(void))done, arg);
    buf_fini(&places);
    buf_fini(&losses);
    buf_fini(&channels);
    return err;
}

void mailbox_end_lease(struct mailbox *mailbox, struct slice place)
{
    struct command command;
    struct buf key;

    buf_init(&key, 256);
    buf_addf(&key, "%splaces", mailbox->prefix);
    command_plain(&command, SLICE("ZREM"));
    command_add(&command, buf_slice(&key));
    command_add(&command, place);
    if (!key.failed)
        (void)put(mailbox, &command, on_done, NULL, NULL); /* else it ends by itself */
    buf_fini(&key);
}
