/*
 * The script that stores letters (its place among the others: mailbox_scripts.c).
 *
 * What it costs Redis is the limit of the whole server. So it takes the letters of a worker's turn
 * together; what is asked and noted about a mailbox is asked and noted once for all that go into it
 * one behind the other; and there are few calls, on few arguments, with few new strings. What is
 * rare is written where it happens.
 *
 * Every letter has its own outcome. An error is caught, and is told in that letter's place: one
 * mailbox of a wrong type leaves the others alone. As the types of all that will be written are
 * checked by reading before it is, and Redis refuses writes (for want of memory, of a master, of a
 * disk) only before the first of a script, an error means that nothing of that letter was stored.
 */
#include "worker/mailbox/mailbox_lua.h"
#include "worker/mailbox/mailbox_parts.h"

/* Stores letters in one mailbox, in order. `form` has a digit a letter; in A, from a on, are of
 * each its sender, id and body, and as many further fields as its digit says, as name and value,
 * the thread (t) last. Into out, from j on, go the places, when there are any, and what is said of
 * each letter: "OUTCOME SEQ BEFORE TRIMMED" (outcome 0 stored, 1 repeated, 2 full), or an error.
 * -> where the next letter begins in A, and the next answer in out.
 *
 * `notes` is what will be noted in :ids about several letters, and `mine` the same by field, for an
 * id may come twice.
 *
 * A hash of more than a handful becomes a real one early (a value longer than
 * hash-max-listpack-value does it), for Redis searches its compact form from end to end. */
#define LUA_APPEND                                                                                 \
    "local call,try,byte,era=redis.call,redis.pcall,string.byte,nil\n"                             \
    "local function append(box,ids,places,form,A,a,out,j)\n"                                       \
    "  local k,seen,mine,notes,count=#form,nil,nil,nil,1\n"                                        \
    "  if k==1 then seen=call('HMGET',ids,'',A[a+1])\n"                                            \
    "  else\n"                                                                                     \
    "    local p=a+1\n"                                                                            \
    "    mine,notes={},{ids,''}\n"                                                                 \
    "    for i=1,k do notes[i+2]=A[p] p=p+2*byte(form,i)-93 end\n"                                 \
    "    seen=call('HMGET',unpack(notes))\n"                                                       \
    "    notes={ids}\n"                                                                            \
    "  end\n"                                                                                      \
    "  local at=call('HKEYS',places)\n"                                                            \
    "  if at[1] then out[j]=at j=j+1 end\n"                                                        \
    "  local len,before,trimmed,newest,old=call('XLEN',box),seen[1],0,nil,false\n"                 \
    "  local few=len<16\n"                                                                         \
    "  if not before then\n" /* somebody took :ids away */                                         \
    "    local e=len>0 and call('XREVRANGE',box,'+','-','COUNT',1)[1]\n"                           \
    "    before=e and e[1] or '0-0'\n"                                                             \
    "  end\n"                                                                                      \
    "  for i=1,k do\n"                                                                             \
    "    local n,from,id=2*byte(form,i)-96,A[a],A[a+1]\n"                                          \
    "    local field,said,th,v=id,nil,nil,mine and mine[id] or seen[i+1]\n"                        \
    "    if v and string.sub(v,string.find(v,' ',1,true)+1)~=from then\n"                          \
    "      field=id..'\\0'..from\n"                                                                \
    "      v=mine and mine[field] or call('HGET',ids,field)\n"                                     \
    "    end\n"                                                                                    \
    "    if v then\n"                                                                              \
    "      local seq=string.sub(v,1,string.find(v,' ',1,true)-1)\n"                                \
    "      local s=tonumber(string.match(seq,'^%d+'))/1000\n"                                      \
    "      if tonumber(call('TIME')[1])-s<DEDUPE then said='1 '..seq..' '..seq..' 0' end\n"        \
    "    end\n"                                                                                    \
    "    if not said and (len>=MAX or len%64==63) then\n" LUA_BASE LUA_SWEEP                       \
    "      if count>1 then call('HSET',unpack(notes)) notes,count={ids},1 end\n"                   \
    "      local gone=sweep(len,REJECT and 0 or len-MAX+1,oldest(AGE))\n"                          \
    "      len,trimmed=len-gone,trimmed+gone\n"                                                    \
    "      if REJECT and len>=MAX then said='2 0-0 0-0 '..trimmed trimmed=0 end\n"                 \
    "    end\n"                                                                                    \
    "    if not said and n>0 and A[a+1+n]=='t' then\n"                                             \
    "      th=string.sub(box,1,-4)..'th'\n"                                                        \
    "      local z=try('ZCARD',th)\n"                                                              \
    "      if type(z)=='table' then said=z end\n"                                                  \
    "    end\n"                                                                                    \
    "    if not said then\n"                                                                       \
    "      local seq\n"                                                                            \
    "      if n==0 then seq=try('XADD',box,'*','f',from,'i',id,'b',A[a+2])\n"                      \
    "      else seq=try('XADD',box,'*','f',from,'i',id,'b',unpack(A,a+2,a+2+n)) end\n"             \
    "      if type(seq)=='table' then said=seq\n"                                                  \
    "      else\n"                                                                                 \
    "        v=seq..' '..from\n"                                                                   \
    "        if mine then\n"                                                                       \
    "          mine[field],notes[count+1],notes[count+2],count=v,field,v,count+2\n"                \
    "        else call('HSET',ids,field,v,'',seq) end\n"                                           \
    "        if th then\n" LUA_RANK "    call('ZADD',th,0,A[a+2+n]..'\\0'..rank(seq))\n"           \
    "          if call('ZCARD',th)==1 then call('EXPIRE',th,2*AGE+10000) end\n"                    \
    "        end\n"                                                                                \
    "        said='0 '..seq..' '..before..(trimmed==0 and ' 0' or ' '..trimmed)\n"                 \
    "        trimmed=0\n"                                                                          \
    "        era=era or string.sub(seq,1,6)\n"                                                     \
    "        old=old or before<era or #before<13\n" /* once in 10,000 s */                         \
    "        len,before,newest=len+1,seq,seq\n"                                                    \
    "      end\n"                                                                                  \
    "    end\n"                                                                                    \
    "    out[j]=said\n"                                                                            \
    "    j,a=j+1,a+3+n\n"                                                                          \
    "  end\n"                                                                                      \
    "  if mine and newest then\n"                                                                  \
    "    notes[count+1],notes[count+2]='',newest\n"                                                \
    "    call('HSET',unpack(notes))\n"                                                             \
    "  end\n"                                                                                      \
    "  if few and len>15 then call('HSET',ids,'/',string.rep('-',65)) end\n"                       \
    "  if old then\n" LUA_BASE LUA_KEEP "    keep(AGE) end\n"                                      \
    "  return a,j\n"                                                                               \
    "end\n"

/* KEYS box ids at; ARGV "f" from "i" id "b" body, further fields, the thread last. */
const char mailbox_append_text[] = LUA_APPEND
    "local out={}\n"
    "append(KEYS[1],KEYS[2],KEYS[3],string.char(45+#ARGV/2),{ARGV[2],ARGV[4],unpack(ARGV,6)},1,\n"
    "  out,1)\n"
    "local said=out[2] or out[1]\n"
    "if type(said)=='table' then error(said) end\n"
    "if not out[2] then return said end\n"
    "local at=out[1]\n"
    "at[#at+1]=said\n"
    "return at";

/* KEYS box ids at of each run of letters for the same mailbox; ARGV of each run: its form and its
 * letters. -> the places, when there are any, and what is said of each of its letters. */
const char mailbox_append_many_text[] =
    LUA_APPEND "local out,j,a,k={},1,1,1\n"
               "while KEYS[k] do\n"
               "  local form=ARGV[a]\n"
               "  local ok,b,c=pcall(append,KEYS[k],KEYS[k+1],KEYS[k+2],form,ARGV,a+1,out,j)\n"
               "  if not ok then\n"
               "    local said=type(b)=='table' and b or {err=b}\n"
               "    b,c=a+1,j\n"
               "    for i=1,#form do out[c]=said b,c=b+2*byte(form,i)-93,c+1 end\n"
               "    out[c]=nil\n"
               "  end\n"
               "  a,j,k=b,c,k+3\n"
               "end\n"
               "return out";
