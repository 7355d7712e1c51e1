/*
 * Joining a group: its log is the mailbox of the address "#name", and a worker with subscribers has
 * its place there as it has in the mailbox of a session's address. Nobody gets a cursor by it: that
 * begins with the first ack, so that a log does not gather one for everybody who ever looked in.
 */
#include "worker/mailbox/mailbox_parts.h"

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

static void on_joined(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_opened joined = { .ok = false };
    mailbox_opened_cb done = (mailbox_opened_cb)op->done;

    if (reply && reply->type == REDIS_ARRAY && reply->count >= 5) {
        struct redis_reply known = redis_reply_at(reply, 0);
        joined.ok = known.type == REDIS_INTEGER && reply_seq(reply, 2, &joined.first) &&
                    reply_seq(reply, 3, &joined.last) && reply_seq(reply, 4, &joined.lost);
        joined.known_device = known.integer == 1;
        if (joined.known_device)
            mailbox_cursor_parse(op->mailbox, redis_reply_at(reply, 1).text, &joined);
        else
            joined.cursor = joined.last;
    }
    done(op->arg, &joined);
}

enum err mailbox_join(struct mailbox *mailbox, struct slice group, struct slice member,
                      mailbox_opened_cb done, void *arg)
{
    static const char *const suffixes[4] = { ":box", ":ids", ":at", ":cur" };
    const struct op like = { .finish = on_joined, .done = (void (*)(void))done, .arg = arg };
    struct command command;
    struct slice keys[4];

    if (!mailbox_keys(mailbox, group, keys, suffixes, 4))
        return ERR_NOMEM;
    command_script(&command, mailbox, SCRIPT_JOIN, 4);
    for (unsigned i = 0; i < 4; i++)
        command_add(&command, keys[i]);
    command_add(&command, slice_of(mailbox->place));
    command_add(&command, member);
    return mailbox_put(mailbox, &command, &like);
}
