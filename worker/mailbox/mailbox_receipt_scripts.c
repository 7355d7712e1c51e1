/*
 * What runs inside Redis for receipts, recall and expiry. The keys are in mailbox_scripts.c;
 * besides those, each with the worker's PREFIX:
 *
 * - {ADDRESS}:rq, a sorted set, by bytes: rank NUL id NUL from of every message in the box that
 *   asked for a receipt and that no device has acknowledged.
 * - {ADDRESS}:rc, a hash: SEQ of a message that was reported as read -> the SEQ of that receipt in
 *   its sender's mailbox.
 * - {ADDRESS}:sent, a stream: what the address has sent, many messages an entry (sent.c).
 * - expiring, a sorted set by time: "x SEQ {ADDRESS}" of every entry that expires (looked at no
 *   later than the age, when it may have gone long ago), and "i SEQ {ADDRESS}" newline FIELD of an
 *   :ids that outlives its removed message, so that it is still recognised when it is sent again.
 * - owed, a sorted set by time: receipts that somebody must still be sent, as lines: state, to,
 * from, the message's id, the receipt's own id, Unix seconds, its level.
 *
 * The one idea: whoever ends the waiting of a message (an ack, its end, its recall) takes it out of
 * :rq and puts the receipt into `owed`, in one script, so that each is owed once whoever is killed.
 * The worker that ran the script sends it and takes it out; when it has not done so after LEASE
 * seconds, any other does (mailbox_due). The receipt's id is made from what it is about, so a
 * second attempt finds the first.
 *
 * Some put their own lines around another script, which they have as a function.
 */
#include "worker/mailbox/mailbox_lua.h"
#include "worker/mailbox/mailbox_parts.h"

#define LUA_PREFIX "local prefix=string.match(KEYS[1],'^([^{]*)')\n"

/* A key's address, and the other way round: mailbox_key. */
#define LUA_HOME                                                                                   \
    "local function home(address)\n"                                                               \
    "  return '{'..string.gsub(address,'[%c{}%%]',function(c)\n"                                   \
    "    return string.format('%%%02X',string.byte(c)) end)..'}'\n"                                \
    "end\n"                                                                                        \
    "local function tenant(home)\n"                                                                \
    "  return (string.gsub(string.sub(home,2,-2),'%%(%x%x)',function(h)\n"                         \
    "    return string.char(tonumber(h,16)) end))\n"                                               \
    "end\n"

/* Adds a receipt to what is owed and to the answer, unless it lies in the mailbox already. */
#define LUA_OWE                                                                                    \
    "local now=tonumber(redis.call('TIME')[1])\n"                                                  \
    "local function owe(out,state,to,from,id,seq,level)\n"                                         \
    "  local rid='receipt-'..state..'.'..redis.sha1hex(table.concat({from,to,id,seq},'\\0'))\n"    \
    "  if redis.pcall('HEXISTS',prefix..home(to)..':ids',rid)==1 then return end\n"                \
    "  local m=table.concat({state,to,from,id,rid,now,level or 0},'\\n')\n"                        \
    "  redis.call('ZADD',prefix..'owed',now+5,m)\n"                                                \
    "  out[#out+1]=m out[#out+1]=''\n"                                                             \
    "end\n"                                                                                        \
    "redis.call('ZCARD',prefix..'owed')\n"

/* An entry, its fields by name; whether a device has acknowledged it (its cursor counts only when
 * it is of this epoch), or where sessions share the mailbox, one of them; its removal, after which
 * its id is still known for a while. */
#define LUA_ENTRY                                                                                  \
    "local function entry(base,seq)\n"                                                             \
    "  local e=redis.pcall('XRANGE',base..':box',seq,seq)\n"                                       \
    "  if e.err or not e[1] then return nil end\n"                                                 \
    "  local v={}\n"                                                                               \
    "  for j=1,#e[1][2],2 do v[e[1][2][j]]=e[1][2][j+1] end\n"                                     \
    "  return v.i and v.f and v\n"                                                                 \
    "end\n"                                                                                        \
    "local function waiting(seq,v) return rank(seq)..'\\0'..v.i..'\\0'..v.f end\n"                 \
    "local function shared(base,seq)\n"                                                            \
    "  local groups=redis.pcall('XINFO','GROUPS',base..':box')\n"                                  \
    "  for _,g in ipairs(groups) do\n"                                                             \
    "    local v={}\n"                                                                             \
    "    for j=1,#g,2 do v[g[j]]=g[j+1] end\n"                                                     \
    "    return rank(v['last-delivered-id'])>=rank(seq) and\n"                                     \
    "      #redis.call('XPENDING',base..':box',v.name,seq,seq,1)==0\n"                             \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local function delivered(base,seq,v)\n"                                                       \
    "  if v.r then return not redis.call('ZSCORE',base..':rq',waiting(seq,v)) end\n"               \
    "  local taken=shared(base,seq)\n"                                                             \
    "  if taken~=nil then return taken end\n"                                                      \
    "  local epoch,cursors=redis.call('GET',prefix..'epoch'),redis.pcall('HVALS',base..':cur')\n"  \
    "  for _,cursor in ipairs(cursors) do\n"                                                       \
    "    local at,its=string.match(cursor,'^(%d+-%d+)@(.*)$')\n"                                   \
    "    if at and its==epoch and rank(at)>=rank(seq) then return true end\n"                      \
    "  end\n"                                                                                      \
    "  return false\n"                                                                             \
    "end\n"                                                                                        \
    "local function remove(base,seq,v)\n"                                                          \
    "  redis.call('XDEL',base..':box',seq)\n"                                                      \
    "  if v.r then redis.pcall('ZREM',base..':rq',waiting(seq,v)) end\n"                           \
    "  if v.r then redis.pcall('HDEL',base..':rc',seq) end\n"                                      \
    "  if v.t then redis.pcall('ZREM',base..':th',v.t..'\\0'..rank(seq)) end\n"                    \
    "  local home=string.sub(base,#prefix+1)\n"                                                    \
    "  if v.x then redis.pcall('ZREM',prefix..'expiring','x '..seq..' '..home) end\n"              \
    "  for _,field in ipairs({v.i,v.i..'\\0'..v.f}) do\n"                                          \
    "    local s=redis.pcall('HGET',base..':ids',field)\n"                                         \
    "    if type(s)=='string' and string.sub(s,1,#seq+1)==seq..' ' then\n"                         \
    "      redis.pcall('ZADD',prefix..'expiring',now+DEDUPE,'i '..seq..' '..home..'\\n'..field)\n" \
    "      break\n"                                                                                \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "end\n"

/* Where the message of this sender and id lies, or nil. */
#define LUA_FIND                                                                                   \
    "local function find(ids,id,from)\n"                                                           \
    "  for _,field in ipairs({id,id..'\\0'..from}) do\n"                                           \
    "    local s=redis.call('HGET',ids,field)\n"                                                   \
    "    local seq,sender=string.match(s or '','^(%d+-%d+) (.*)$')\n"                              \
    "    if sender==from then return seq end\n"                                                    \
    "  end\n"                                                                                      \
    "end\n"

/* Around an append, of a message that asks for a receipt or expires. */
static const char append_noted_after[] =
    "\nend\n" LUA_PREFIX LUA_RANK "local base,r,x=string.sub(KEYS[1],1,-5),false,nil\n"
    "for j=1,#ARGV,2 do\n"
    "  if ARGV[j]=='r' then r=true elseif ARGV[j]=='x' then x=tonumber(ARGV[j+1]) end\n"
    "end\n"
    "local asked=r and redis.call('ZCARD',base..':rq')\n"
    "if x then redis.call('ZCARD',prefix..'expiring') end\n"
    "local said=append()\n"
    "local seq=string.match(type(said)=='table' and said[#said] or said,'^0 (%S+) ')\n"
    "if seq and r then\n"
    "  redis.call('ZADD',base..':rq',0,rank(seq)..'\\0'..ARGV[4]..'\\0'..ARGV[2])\n"
    "  if asked==0 then redis.call('EXPIRE',base..':rq',2*AGE+10000) end\n"
    "end\n"
    "if seq and x then\n"
    "  local at=math.min(x,tonumber(redis.call('TIME')[1])+AGE)\n"
    "  redis.call('ZADD',prefix..'expiring',at,'x '..seq..' '..string.sub(base,#prefix+1))\n"
    "end\n"
    "return said";

/* Around an append, of a receipt with state 3. Behind the append's own: KEYS the reader's box; ARGV
 * the id of what was read. OUTCOME 3: no such message lies there that asked for it. The second
 * receipt about a message is the first one again. */
static const char append_read_after[] =
    "\nend\n" LUA_FIND "local box,id=table.remove(KEYS),table.remove(ARGV)\n"
    "local base,to=string.sub(box,1,-5),string.sub(KEYS[1],1,-5)\n"
    "local sender=table.remove(ARGV)\n"
    "local seq=find(base..':ids',id,sender)\n"
    "local e=seq and redis.call('XRANGE',box,seq,seq)[1]\n"
    "local asked=false\n"
    "for j=1,e and #e[2] or 0,2 do\n"
    "  asked=asked or (e[2][j]=='r' and e[2][j+1]=='3')\n"
    "end\n"
    "if not asked then return '3 0-0 0-0 0' end\n"
    "local first=redis.call('HGET',base..':rc',seq)\n"
    "if first then\n"
    "  local at=redis.call('HKEYS',to..':at')\n"
    "  at[#at+1]='1 '..first..' '..first..' 0'\n"
    "  return at\n"
    "end\n"
    "local said=append()\n"
    "local where=string.match(type(said)=='table' and said[#said] or said,'^[01] (%S+) ')\n"
    "if where then\n"
    "  redis.call('HSET',base..':rc',seq,where)\n"
    "  redis.call('EXPIRE',base..':rc',2*AGE+10000)\n"
    "end\n"
    "return said";

/* Around an ack. ARGV behind its own: the address, how many at most, "FIRST LAST FIRST LAST ..." of
 * what is acknowledged. -> 1 when there may be more (and the cursor stays), then pairs: what is
 * owed now, and "". */
static const char ack_asked_after[] =
    "\nend\n" LUA_PREFIX LUA_RANK LUA_HOME LUA_OWE
    "local rq,left,out=string.sub(KEYS[1],1,-5)..':rq',tonumber(ARGV[5]),{0}\n"
    "local function unrank(r)\n"
    "  local ms_len=string.byte(r)-96\n"
    "  return string.sub(r,2,1+ms_len)..'-'..string.sub(r,3+ms_len)\n"
    "end\n"
    "for first,last in string.gmatch(ARGV[6],'(%S+) (%S+)') do\n"
    "  local es=left>0 and redis.call('ZRANGEBYLEX',rq,'['..rank(first),'('..rank(last)..'\\1',\n"
    "    'LIMIT',0,left) or {}\n"
    "  for _,m in ipairs(es) do\n"
    "    local r,id,from=string.match(m,'^(%w+)%z(%Z*)%z(.*)$')\n"
    "    redis.call('ZREM',rq,m)\n"
    "    if r then owe(out,'2',from,ARGV[4],id,unrank(r)) end\n"
    "    left=left-1\n"
    "  end\n"
    "end\n"
    "if left==0 then out[1]=1 elseif ARGV[2]~='0-0' then ack() end\n"
    "return out";

/* KEYS expiring owed; ARGV how many at most. What has expired is removed, and what is owed for
 * longer than it should be is taken over. -> how many messages were removed, 1 when there may be
 * more, then pairs: what is owed, and where it lies already ("": nowhere). A key of a wrong type at
 * one address does not keep the others waiting. */
static const char due_text[] =
    "local prefix=string.sub(KEYS[1],1,-9)\n" LUA_RANK LUA_HOME LUA_OWE LUA_ENTRY
    "local max,out=tonumber(ARGV[1]),{0,0}\n"
    "local function forget(seq,home,field)\n"
    "  local s=redis.pcall('HGET',prefix..home..':ids',field)\n"
    "  if type(s)=='string' and string.sub(s,1,#seq+1)==seq..' ' then\n"
    "    redis.pcall('HDEL',prefix..home..':ids',field)\n"
    "  end\n"
    "end\n"
    "local function expire(m,seq,home)\n"
    "  local base=prefix..home\n"
    "  local v=entry(base,seq)\n"
    "  if v and v.x and tonumber(v.x)>now then\n"
    "    redis.call('ZADD',KEYS[1],math.min(tonumber(v.x),now+AGE),m)\n"
    "    return\n"
    "  end\n"
    "  redis.call('ZREM',KEYS[1],m)\n"
    "  if not v or delivered(base,seq,v) then return end\n"
    "  remove(base,seq,v)\n"
    "  out[1]=out[1]+1\n"
    "  if v.r then owe(out,'5',v.f,tenant(home),v.i,seq) end\n"
    "end\n"
    "local due=redis.call('ZRANGEBYSCORE',KEYS[1],'-inf',now,'LIMIT',0,max)\n"
    "if #due==max then out[2]=1 end\n"
    "for _,m in ipairs(due) do\n"
    "  local kind,seq,rest=string.match(m,'^(%l) (%d+-%d+) (.*)$')\n"
    "  if kind=='x' then expire(m,seq,rest) else\n"
    "    redis.call('ZREM',KEYS[1],m)\n"
    "    local home,field=string.match(rest or '','^(%b{})\\n(.*)$')\n"
    "    if kind=='i' and home then forget(seq,home,field) end\n"
    "  end\n"
    "end\n"
    "due=redis.call('ZRANGEBYSCORE',KEYS[2],'-inf',now,'LIMIT',0,max)\n"
    "if #due==max then out[2]=1 end\n"
    "for _,m in ipairs(due) do\n"
    "  local to,from,rid=string.match(m,'^%d\\n([^\\n]*)\\n([^\\n]*)\\n[^\\n]*\\n([^\\n]*)\\n')\n"
    "  local s=to and redis.pcall('HGET',prefix..home(to)..':ids',rid)\n"
    "  s=type(s)=='string' and string.match(s,'^(%d+-%d+) ')\n"
    "  redis.call('ZADD',KEYS[2],now+5,m)\n"
    "  out[#out+1]=m out[#out+1]=s or ''\n"
    "end\n"
    "return out";

/* KEYS sent; ARGV id, the newest entry to look at, how many. -> 1 and the recipients, one a line;
 * or 0 and the oldest entry that was looked at ("": that was all). */
static const char find_sent_text[] =
    "local es=redis.call('XREVRANGE',KEYS[1],ARGV[2],'-','COUNT',ARGV[3])\n"
    "for _,e in ipairs(es) do\n"
    "  local text='\\n\\n'..e[2][2]\n"
    "  local _,at=string.find(text,'\\n\\n'..ARGV[1]..'\\n',1,true)\n"
    "  if at then\n"
    "    return {1,string.sub(text,at+1,string.find(text,'\\n\\n',at,true)-1)}\n"
    "  end\n"
    "end\n"
    "return {0,#es==tonumber(ARGV[3]) and es[#es][1] or ''}";

/* KEYS box ids; ARGV the sender, id, the address. -> 0 is not there, 1 removed, 2 was acknowledged
 * by a device; then pairs as above: to its devices, when it ever had one, and to the sender. */
static const char recall_text[] = LUA_PREFIX LUA_RANK LUA_HOME LUA_OWE LUA_ENTRY LUA_FIND
    "local base,from,id,me=string.sub(KEYS[1],1,-5),ARGV[1],ARGV[2],ARGV[3]\n"
    "local seq=find(KEYS[2],id,from)\n"
    "local v=seq and entry(base,seq)\n"
    "if not v then return {0} end\n"
    "local read=delivered(base,seq,v)\n"
    "if not read then remove(base,seq,v) end\n"
    "local out={read and 2 or 1}\n"
    "if redis.call('HLEN',base..':cur')>0 then owe(out,'4',me,from,id,seq,v.l) end\n"
    "if v.r and not read then owe(out,'4',from,me,id,seq) end\n"
    "return out";

const char *mailbox_receipt_script(enum script script)
{
    switch (script) {
    case SCRIPT_DUE:
        return due_text;
    case SCRIPT_FIND_SENT:
        return find_sent_text;
    case SCRIPT_RECALL:
        return recall_text;
    default:
        return NULL;
    }
}

struct script_wrap mailbox_script_wrap(enum script script)
{
    static const char as_append[] = "local function append()\n",
                      as_ack[] = "local function ack()\n";

    switch (script) {
    case SCRIPT_APPEND_NOTED:
        return (struct script_wrap){ as_append, SCRIPT_APPEND, append_noted_after };
    case SCRIPT_APPEND_READ:
        return (struct script_wrap){ as_append, SCRIPT_APPEND, append_read_after };
    case SCRIPT_ACK_ASKED:
        return (struct script_wrap){ as_ack, SCRIPT_ACK, ack_asked_after };
    default:
        return (struct script_wrap){ "", script, "" };
    }
}
