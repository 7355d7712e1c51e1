/*
 * The script that stores letters (its place among the others: mailbox_scripts.c).
 *
 * What it costs Redis is the limit of the whole server. So it takes the letters of a worker's turn
 * together, and for each of them does few calls, on few arguments, with few new strings. What is
 * rare is written where it happens.
 *
 * Every letter has its own outcome. An error is caught, and is told in that letter's place: one
 * mailbox of a wrong type leaves the others alone. As a letter reads all it will write before it
 * writes, and Redis refuses writes (for want of memory, of a master, of a disk) only before the
 * first of a script, an error means that nothing of that letter was stored.
 */
#include "worker/mailbox_lua.h"
#include "worker/mailbox_parts.h"

/* Stores one letter: its keys; who sent it, its id; where in ARGV its body stands, and how many
 * arguments stand behind that: further fields as name and value, the thread (t) last.
 * -> "OUTCOME SEQ BEFORE TRIMMED" (outcome 0 stored, 1 repeated, 2 full), or when there are places
 * an array of them with that behind.
 *
 * A hash of more than a handful becomes a real one early (a value longer than
 * hash-max-listpack-value does it), for Redis searches its compact form from end to end. */
#define LUA_APPEND                                                                                 \
    "local call,era=redis.call,nil\n"                                                              \
    "local function append(box,ids,places,from,id,a,n)\n"                                          \
    "  local seen=call('HMGET',ids,id,'')\n"                                                       \
    "  local at=call('HKEYS',places)\n"                                                            \
    "  local field,v,before=id,seen[1],seen[2]\n"                                                  \
    "  if v then\n"                                                                                \
    "    if string.sub(v,string.find(v,' ',1,true)+1)~=from then\n"                                \
    "      field=id..'\\0'..from\n"                                                                \
    "      v=call('HGET',ids,field)\n"                                                             \
    "    end\n"                                                                                    \
    "    if v then\n"                                                                              \
    "      local seq=string.sub(v,1,string.find(v,' ',1,true)-1)\n"                                \
    "      local s=tonumber(string.match(seq,'^%d+'))/1000\n"                                      \
    "      if tonumber(call('TIME')[1])-s<DEDUPE then\n"                                           \
    "        at[#at+1]='1 '..seq..' '..seq..' 0'\n"                                                \
    "        return at\n"                                                                          \
    "      end\n"                                                                                  \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "  local len,trimmed,th=call('XLEN',box),0,nil\n"                                              \
    "  if not before then\n" /* somebody took :ids away */                                         \
    "    local e=len>0 and call('XREVRANGE',box,'+','-','COUNT',1)[1]\n"                           \
    "    before=e and e[1] or '0-0'\n"                                                             \
    "  end\n"                                                                                      \
    "  if n>0 and ARGV[a+n-1]=='t' then\n"                                                         \
    "    th=string.sub(box,1,-4)..'th'\n"                                                          \
    "    call('ZCARD',th)\n"                                                                       \
    "  end\n"                                                                                      \
    "  if len>=MAX or len%64==63 then\n" LUA_BASE LUA_SWEEP                                        \
    "    trimmed=sweep(len,REJECT and 0 or len-MAX+1,oldest(AGE))\n"                               \
    "    if REJECT and len-trimmed>=MAX then return '2 0-0 0-0 '..trimmed end\n"                   \
    "  end\n"                                                                                      \
    "  local seq\n"                                                                                \
    "  if n==0 then seq=call('XADD',box,'*','f',from,'i',id,'b',ARGV[a])\n"                        \
    "  else seq=call('XADD',box,'*','f',from,'i',id,'b',unpack(ARGV,a,a+n)) end\n"                 \
    "  call('HSET',ids,field,seq..' '..from,'',seq)\n"                                             \
    "  if len==15 then call('HSET',ids,'/',string.rep('-',65)) end\n"                              \
    "  if th then\n" LUA_RANK "    call('ZADD',th,0,ARGV[a+n]..'\\0'..rank(seq))\n"                \
    "    if call('ZCARD',th)==1 then call('EXPIRE',th,2*AGE+10000) end\n"                          \
    "  end\n"                                                                                      \
    "  era=era or string.sub(seq,1,9)\n"                                                           \
    "  if before<era or #before<13 then\n" /* once in 10,000 s */                                  \
        LUA_BASE LUA_KEEP "    keep(AGE)\n"                                                        \
    "  end\n"                                                                                      \
    "  local text='0 '..seq..' '..before..(trimmed==0 and ' 0' or ' '..trimmed)\n"                 \
    "  if #at==0 then return text end\n"                                                           \
    "  at[#at+1]=text\n"                                                                           \
    "  return at\n"                                                                                \
    "end\n"

/* KEYS box ids at; ARGV "f" from "i" id "b" body, further fields, the thread last. */
const char mailbox_append_text[] =
    LUA_APPEND "return append(KEYS[1],KEYS[2],KEYS[3],ARGV[2],ARGV[4],6,#ARGV-6)";

/* KEYS box ids at of each letter; ARGV of each: how many fields stand behind its body, from, id,
 * body, and these as name and value. -> what is said of each, or its error. */
const char mailbox_append_many_text[] = LUA_APPEND
    "local out,j,k,a={},1,1,1\n"
    "while KEYS[k] do\n"
    "  local n=2*ARGV[a]\n"
    "  local ok,said=pcall(append,KEYS[k],KEYS[k+1],KEYS[k+2],ARGV[a+1],ARGV[a+2],a+3,n)\n"
    "  out[j]=(ok or type(said)=='table') and said or {err=said}\n"
    "  j,k,a=j+1,k+3,a+4+n\n"
    "end\n"
    "return out";
