/*
 * Pieces that several scripts are made of. They speak of two locals: `box`, the key of the mailbox,
 * and `base`, what all keys of its address begin with.
 */
#ifndef WORKER_MAILBOX_LUA_H
#define WORKER_MAILBOX_LUA_H

/* For a script about one address. */
#define LUA_KEY  "local box=KEYS[1] " LUA_BASE
#define LUA_BASE "local base=string.sub(box,1,-5) "

/* A position as bytes that sort as it does. */
#define LUA_RANK                                                                                   \
    "local function rank(seq)\n"                                                                   \
    "  local ms,n=string.match(seq,'^(%d+)-(%d+)$')\n"                                             \
    "  return string.char(96+#ms)..ms..string.char(96+#n)..n\n"                                    \
    "end\n"

/* Keys vanish twice the age after the last use, so that whoever comes back after the age still
 * finds out what it missed. Places are not a matter of age: a session may be silent for long. */
#define LUA_KEEP                                                                                   \
    "local function keep(age)\n"                                                                   \
    "  for _,name in ipairs({':box',':ids',':cur',':th',':rc',':rq'}) do\n"                        \
    "    redis.call('EXPIRE',base..name,2*age+10000)\n"                                            \
    "  end\n"                                                                                      \
    "end\n"

/* Retention: removes from the oldest on `excess` entries, and those before `oldest` ms, at most
 * about a hundred at once. */
#define LUA_SWEEP                                                                                  \
    LUA_RANK "local function forget(entry)\n"                                                      \
             "  local seq,v=entry[1],{}\n"                                                         \
             "  for j=1,#entry[2],2 do v[entry[2][j]]=entry[2][j+1] end\n"                         \
             "  if v.i and v.f then\n"                                                             \
             "    for _,field in ipairs({v.i,v.i..'\\0'..v.f}) do\n"                               \
             "      local s=redis.call('HGET',base..':ids',field)\n"                               \
             "      if s and string.sub(s,1,#seq+1)==seq..' ' then\n"                              \
             "        redis.call('HDEL',base..':ids',field) break\n"                               \
             "      end\n"                                                                         \
             "    end\n"                                                                           \
             "  end\n"                                                                             \
             "  if v.t then redis.pcall('ZREM',base..':th',v.t..'\\0'..rank(seq)) end\n"           \
             "  if v.r then redis.pcall('HDEL',base..':rc',seq) end\n"                             \
             "  if v.r and v.i and v.f then\n"                                                     \
             "    redis.pcall('ZREM',base..':rq',rank(seq)..'\\0'..v.i..'\\0'..v.f)\n"             \
             "  end\n"                                                                             \
             "end\n"                                                                               \
             "local function sweep(len,excess,oldest)\n"                                           \
             "  local n,lost=0,nil\n"                                                              \
             "  while n<128 do\n"                                                                  \
             "    local es=redis.call('XRANGE',box,'-','+','COUNT',\n"                             \
             "      excess>n and math.min(excess-n,16) or 4)\n"                                    \
             "    local k,old=0,false\n"                                                           \
             "    for _,e in ipairs(es) do\n"                                                      \
             "      old=tonumber(string.match(e[1],'^%d+'))<oldest\n"                              \
             "      if n+k>=excess and not old then break end\n"                                   \
             "      k=k+1 lost=e[1] forget(e)\n"                                                   \
             "    end\n"                                                                           \
             "    if k==0 then break end\n"                                                        \
             "    n=n+k\n"                                                                         \
             "    redis.call('XTRIM',box,'MAXLEN',len-n)\n"                                        \
             "    if k<#es or (n>=excess and not old) then break end\n"                            \
             "  end\n"                                                                             \
             "  if lost then redis.call('HSET',base..':ids','/lost',lost) end\n"                   \
             "  return n\n"                                                                        \
             "end\n"                                                                               \
             "local function oldest(age)\n"                                                        \
             "  return (tonumber(redis.call('TIME')[1])-age)*1000\n"                               \
             "end\n"

#endif
