/*
 * What runs inside Redis. Everything that a client has chosen reaches a script as an argument.
 *
 * The keys of an address (all with the hash tag {ADDRESS}):
 *
 * - :box, a stream: the mailbox. An entry has f (from), i (id), b (body), and only when it has them
 *   x (expiresAt), r (receipt asked for), d (device to skip), l (level), t (thread, when it is not
 *   the message's own id).
 * - :ids, a hash: id -> "SEQ FROM" of everything in the box (id NUL from, when another sender has
 *   the same id in it); "" -> the newest SEQ; "/lost" -> the newest SEQ that retention removed. It
 *   recognises a repetition, finds a message to recall and the first message of a thread.
 * - :at, a hash: places with sessions (worker/mailbox/place.h).
 * - :cur, a hash: device -> "SEQ@EPOCH".
 * - :th, a sorted set, by bytes: thread NUL rank, for messages that are not their thread's first.
 * - :rc, :rq, :sent: mailbox_receipt_scripts.c.
 *
 * For all of them together PREFIXepoch and PREFIXtick, and PREFIXplaces (mailbox_places.c).
 *
 * An append reads, and by that checks the types, of all it will write before its first write; Redis
 * refuses a script for want of memory, a read-only replica or a full disk at its first write. So an
 * error means that nothing was stored.
 *
 * Each worker loads the texts under names of its own (a comment): were they shared, one worker's
 * SCRIPT LOAD in the middle of another's row of EVALSHA would have the rest of the row carried out
 * before those that were answered NOSCRIPT. The limits, which are the operator's, stand in the
 * texts; a reload of the configuration makes new ones.
 *
 * The rarer keys' names are made from the first one's, as all of them are in the same hash slot.
 */
#include "common/sha1.h"
#include "worker/mailbox/mailbox_lua.h"
#include "worker/mailbox/mailbox_parts.h"

#include <stdio.h>
#include <stdlib.h>

/* KEYS box ids at cur; ARGV device epoch field opened age.
 * -> known, cursor, first, last, lost, devices, how many were trimmed, opened, the other fields and
 * their values. opened "0": the session is new, and newer than any other; or, with an age, it began
 * so many microseconds ago. Places expire after a year, or those of hosts that never came back
 * would stay for ever. */
static const char open_text[] = LUA_KEY LUA_SWEEP LUA_KEEP
    "local age,len=AGE,redis.call('XLEN',KEYS[1])\n"
    "redis.call('HLEN',KEYS[2])\n"
    "local known,cursor=1,redis.call('HGET',KEYS[4],ARGV[1])\n"
    "local at,others=redis.call('HGETALL',KEYS[3]),{}\n"
    "local t,newest,taken=redis.call('TIME'),0,{}\n"
    "local opened,now=tonumber(ARGV[4]),t[1]*1000000+t[2]\n"
    "for j=1,#at,2 do\n"
    "  if at[j]~=ARGV[3] then\n"
    "    local o=tonumber(string.match(at[j+1],'^%d+') or '0')\n"
    "    taken[o],newest=true,math.max(newest,o)\n"
    "    others[#others+1]=at[j] others[#others+1]=at[j+1]\n"
    "  end\n"
    "end\n"
    "if opened==0 then\n"
    "  opened=ARGV[5]=='' and math.max(now,newest+1) or now-ARGV[5]\n"
    "end\n"
    "while taken[opened] do opened=opened+1 end\n"
    "redis.call('HSET',KEYS[3],ARGV[3],\n"
    "  string.format('%.0f',opened)..' '..ARGV[1])\n"
    "redis.call('EXPIRE',KEYS[3],31536000)\n"
    "local trimmed=len>0 and sweep(len,0,oldest(age)) or 0\n"
    "local lost=redis.call('HGET',KEYS[2],'/lost') or '0-0'\n"
    "if not cursor then\n" /* what was gone before it came, it does not miss */
    "  known,cursor=0,lost..'@'..ARGV[2]\n"
    "  redis.call('HSET',KEYS[4],ARGV[1],cursor)\n"
    "end\n"
    "local first,last='0-0','0-0'\n"
    "local info=redis.pcall('XINFO','STREAM',KEYS[1])\n"
    "if not info.err then\n"
    "  for j=1,#info,2 do\n"
    "    if info[j]=='last-generated-id' then last=info[j+1] end\n"
    "    if info[j]=='first-entry' and info[j+1] then first=info[j+1][1] end\n"
    "  end\n"
    "end\n"
    "keep(age)\n"
    "return {known,cursor,first,last,lost,\n"
    "  redis.call('HLEN',KEYS[4]),trimmed,opened,others}";

/* KEYS cur; ARGV device seq epoch. The cursor goes forward, or into a new epoch. */
static const char ack_text[] =
    "local old=redis.call('HGET',KEYS[1],ARGV[1])\n"
    "local ms,n,epoch=string.match(old or '','^(%d+)-(%d+)@(.*)$')\n"
    "local function less(a,b) return #a<#b or (#a==#b and a<b) end\n"
    "if epoch==ARGV[3] then\n"
    "  local new_ms,new_n=string.match(ARGV[2],'^(%d+)-(%d+)$')\n"
    "  if less(new_ms,ms) or (new_ms==ms and not less(n,new_n)) then return 0 end\n"
    "end\n"
    "if redis.call('HSET',KEYS[1],ARGV[1],ARGV[2]..'@'..ARGV[3])==1 then\n"
    "  redis.call('EXPIRE',KEYS[1],2*AGE+10000)\n"
    "end\n"
    "return 1";

/* KEYS box ids th; ARGV thread before|"" count -> entries, newest first. The first message of a
 * thread has the thread's name as its id. */
static const char thread_text[] =
    LUA_RANK "local low,count=ARGV[1]..'\\0',tonumber(ARGV[3])\n"
             "local before=ARGV[2]~='' and rank(ARGV[2])\n"
             "local found=redis.call('ZREVRANGEBYLEX',KEYS[3],\n"
             "  '('..(before and low..before or ARGV[1]..'\\1'),'['..low,'LIMIT',0,count)\n"
             "for j=1,#found do found[j]=string.sub(found[j],#low+1) end\n"
             "local root=redis.call('HGET',KEYS[2],ARGV[1])\n"
             "root=root and string.match(root,'^(%d+-%d+) ')\n"
             "root=root and rank(root)\n"
             "if root and (not before or root<before) then\n"
             "  local at=#found+1\n"
             "  while at>1 and found[at-1]<root do at=at-1 end\n"
             "  if found[at-1]~=root then table.insert(found,at,root) end\n"
             "end\n"
             "local out={}\n"
             "for j=1,math.min(#found,count) do\n"
             "  local r=found[j]\n"
             "  local ms_len=string.byte(r)-96\n"
             "  local seq=string.sub(r,2,1+ms_len)..'-'..string.sub(r,3+ms_len)\n"
             "  local e=redis.call('XRANGE',KEYS[1],seq,seq)[1]\n"
             "  if e then out[#out+1]=e end\n"
             "end\n"
             "return out";

/* KEYS epoch tick; ARGV the epoch we know ("": none), the tick we know, a fresh epoch, "1" when we
 * know that data is gone. -> epoch, tick. Of several workers that notice, one renames the data: the
 * others find an epoch that is not the one they knew. What cannot be written (out of memory, a
 * replica) does not end a mailbox that can be read. */
static const char tick_text[] =
    "local epoch=redis.call('GET',KEYS[1])\n"
    "local tick=tonumber(redis.call('GET',KEYS[2]) or '0')\n"
    "if not epoch or (epoch==ARGV[1] and (tick<tonumber(ARGV[2]) or ARGV[4]=='1')) then\n"
    "  epoch=ARGV[3]\n"
    "  redis.call('SET',KEYS[1],epoch)\n"
    "end\n"
    "local now=redis.pcall('INCR',KEYS[2])\n"
    "return {epoch,type(now)=='number' and now or tick}";

/* KEYS box -> the newest position it ever gave, "" when there is no such box. */
static const char newest_text[] =
    "local info=redis.pcall('XINFO','STREAM',KEYS[1])\n"
    "if info.err then return '' end\n"
    "for j=1,#info,2 do if info[j]=='last-generated-id' then return info[j+1] end end\n"
    "return ''";

static const char *const texts[SCRIPT_COUNT] = {
    [SCRIPT_APPEND] = mailbox_append_text,
    [SCRIPT_APPEND_MANY] = mailbox_append_many_text,
    [SCRIPT_OPEN] = open_text,
    [SCRIPT_ACK] = ack_text,
    [SCRIPT_THREAD] = thread_text,
    [SCRIPT_TICK] = tick_text,
    [SCRIPT_NEWEST] = newest_text,
    [SCRIPT_FORGET] = mailbox_forget_text,
    [SCRIPT_LEASE] = mailbox_lease_text,
    [SCRIPT_JOIN] = mailbox_join_text,
    [SCRIPT_SERVICE] = mailbox_service_text,
};

char *mailbox_script(enum script script, struct slice name, const struct retention *retention)
{
    struct script_wrap wrap = mailbox_script_wrap(script);
    const char *inner = texts[wrap.inner] ? texts[wrap.inner] : mailbox_receipt_script(wrap.inner);
    struct buf comment;
    char *text = NULL;

    buf_init(&comment, 4096);
    mailbox_key(&comment, SLICE(""), name, ""); /* escaped: one line whatever is in it */
    if (asprintf(&text, "--%s\nlocal MAX,REJECT,AGE,DEDUPE=%lld,%s,%lld,%lld\n%s%s%s",
                 buf_text(&comment), (long long)retention->messages_max,
                 retention->reject_full ? "true" : "false", (long long)retention->age_s,
                 (long long)retention->dedupe_s, wrap.before, inner, wrap.after) < 0)
        text = NULL;
    buf_fini(&comment);
    return text;
}

void mailbox_script_sha(const char *text, char hex[SHA_HEX + 1])
{
    uint8_t digest[20];

    sha1(text, strlen(text), digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}
