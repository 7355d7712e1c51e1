-- Shares out the messages of a service address among its sessions.
--
-- The mailbox is that of any address. One consumer group on its stream ("po") knows which messages
-- are given to which consumer and are not acknowledged. A consumer is a session, named
-- PLACE:NUMBER, or "-". Messages that sessions left behind when the sessions went stand under "-",
-- and are given before all new messages. lua/README.md has the keys :svc and :svn. The load of each
-- consumer comes from the group alone, so no count can drift.
--
-- A worker states facts ("these are my sessions, these seqs were acknowledged"), not changes. A
-- consumer in :svc under the worker's name that the worker does not state has left; a stated consumer
-- that is not in :svc joins. So a worker in doubt may repeat its statement. A place goes when its
-- worker is known to be dead, or when its lease (PREFIXplaces) has ended or is missing.
--
-- KEYS box svc svn cur places
-- ARGV  1 PLACE   2 EPOCH   3 credit: how many messages a session may hold
--       4 how many messages to give at most   5 how many bytes to take at most
--       6 the worker's sessions as "NUMBER+NUMBER-…" (-: no room now)
--       7 the acknowledged seqs   8 places known to be dead   9 places known to live
--      10 NUMBER of the session to which its messages must be given again, or ""
--      11 the seqs which that session holds
-- -> "MORE BUSY EXPIRED GONE BAD MOVED", places to ring, all other places, and the messages for this
--    worker's sessions: NUMBER, entry, NUMBER, entry, …
--
-- Messages for sessions of other workers are read too, because expired messages are left out. A call
-- reads at most four times the bytes that the call may take and 64 KiB, and one message more.
--
-- Reads check the types of all keys before the first write.
--: include piece_weigh
--: include piece_highest
local box, svc, svn, GROUP = KEYS[1], KEYS[2], KEYS[3], 'po'
local me, credit, most, bytes = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local unread = 4 * bytes + 65536
local more, expired, gone, bad, moved = 0, 0, 0, 0, 0
local call, now = redis.call, tonumber(redis.call('TIME')[1])
--: include piece_body

local function words(text)
  local list = {}
  for word in string.gmatch(text, '%S+') do
    list[#list + 1] = word
  end
  return list
end

-- Calls a command on seqs, a hundred at a time: `before`, the seqs, `behind`. done(seqs, answer)
-- follows each call.
local function each(before, seqs, behind, done)
  for i = 1, #seqs, 100 do
    local args, part = {unpack(before)}, {unpack(seqs, i, math.min(i + 99, #seqs))}
    for _, seq in ipairs(part) do
      args[#args + 1] = seq
    end
    args[#args + 1] = behind
    local answer = call(unpack(args))
    if done then
      done(part, answer)
    end
  end
end

local function drop(seq)
  call('XACK', box, GROUP, seq)
end

local all, len = call('HGETALL', svc), call('XLEN', box)
local leases = call('ZCARD', KEYS[5]) > 0
call('HLEN', svn)
local mine, own = {}, {}
for number, room in string.gmatch(ARGV[6], '(%d+)([+-])') do
  own[#own + 1] = me .. ':' .. number
  mine[own[#own]] = {number = number, room = room == '+'}
end

-- The group. A new group begins behind the newest seq that a device had acknowledged before the
-- address was a service.
local summary = redis.pcall('XPENDING', box, GROUP)
if summary.err then
  if not string.find(summary.err, 'NOGROUP', 1, true) then
    return summary
  end
  if #own == 0 then
    return {'0 0 0 0 0 0', {}, {}, {}}
  end
  call('HLEN', KEYS[4]) -- checks the type before the first write
  call('XGROUP', 'CREATE', box, GROUP, highest_of(KEYS[4], ARGV[2]) or '0-0', 'MKSTREAM')
  summary = {0}
end
local acks = words(ARGV[7])
if #acks > 0 then
  each({'XACK', box, GROUP}, acks)
  summary = call('XPENDING', box, GROUP)
end

-- In a mailbox that refuses more when full, acknowledged messages make room, once they are older than
-- DEDUPE: until then their repetitions must be recognised. By bytes the removal begins at half of BYTES: the
-- size of the letter that would be refused is not known here. `done` is the end of the range that may
-- go: at first "SEQ." for an inclusive end and "SEQ" for an exclusive one, then as XRANGE wants it.
local counted = REJECT and redis.pcall('HGET', string.sub(box, 1, -4) .. 'ids', '/bytes')
if REJECT and (len >= MAX or (tonumber(counted) or 0) * 2 >= BYTES) then
  local base = string.sub(box, 1, -5)
  --: include piece_sweep
  local done, old = summary[2], string.format('%.0f', (now - DEDUPE) * 1000)
  for _, group in ipairs(done and {} or call('XINFO', 'GROUPS', box)) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then
        done = group[i + 1] .. '.'
      end
    end
  end
  local ms = string.match(done, '^%d+')
  if #ms > #old or (#ms == #old and ms > old) then
    done = old .. '-0'
  end
  done = string.sub(done, -1) == '.' and string.sub(done, 1, -2) or '(' .. done
  local count = #call('XRANGE', box, '-', done, 'COUNT', 128)
  if count > 0 then
    sweep(len, count, 0)
  end
end

-- `load`: how many messages each consumer holds; `left`: how many stand under "-"; `ticks`: when
-- each consumer got its last message, by the count `tick`.
local load = {}
for _, consumer in ipairs(summary[4] or {}) do
  load[consumer[1]] = tonumber(consumer[2])
end
local left = load['-'] or 0
load['-'] = nil
local ticks, tick = {}, 0
for i = 1, #all, 2 do
  if all[i] == '' then
    tick = tonumber(all[i + 1])
  else
    ticks[all[i]] = tonumber(all[i + 1])
  end
end

-- Moves the messages of a consumer to "-" and removes the consumer. Messages that retention has
-- removed meanwhile are gone.
local function release(consumer)
  while true do
    local seqs = {}
    for i, pending in ipairs(call('XPENDING', box, GROUP, '-', '+', 100, consumer)) do
      seqs[i] = pending[1]
    end
    if #seqs == 0 then
      break
    end
    each({'XCLAIM', box, GROUP, '-', 0}, seqs, 'JUSTID', function(part, kept)
      local is_kept = {}
      for _, seq in ipairs(kept) do
        is_kept[seq] = true
      end
      for _, seq in ipairs(part) do
        if not is_kept[seq] then
          gone = gone + 1
          drop(seq)
        end
      end
      moved, left = moved + #kept, left + #kept
    end)
  end
  call('XGROUP', 'DELCONSUMER', box, GROUP, consumer)
  call('HDEL', svc, consumer)
  call('HDEL', svn, consumer)
  ticks[consumer], load[consumer] = nil, nil
end

-- Consumers that left or whose worker is dead go; new consumers join.
local dead, known, places = {}, {}, {}
for _, place in ipairs(words(ARGV[8])) do
  dead[place] = true
end
for _, place in ipairs(words(ARGV[9])) do
  dead[place] = dead[place] or false
end
local function place_of(consumer)
  return string.match(consumer, '^(.*):%d+$') or ''
end
local function is_dead(place)
  if dead[place] == nil then
    local lease_end = leases and call('ZSCORE', KEYS[5], place)
    dead[place] = leases and (not lease_end or tonumber(lease_end) < now * 1000)
  end
  return dead[place]
end
local leaving = {}
for consumer in pairs(ticks) do
  local place = place_of(consumer)
  if place == me then
    if not mine[consumer] then
      leaving[#leaving + 1] = consumer
    end
  elseif is_dead(place) then
    leaving[#leaving + 1] = consumer
  elseif not known[place] then
    known[place] = true
    places[#places + 1] = place
  end
end
for consumer in pairs(load) do
  if not ticks[consumer] and not mine[consumer] then
    leaving[#leaving + 1] = consumer
  end
end
for _, consumer in ipairs(leaving) do
  release(consumer)
end
for _, consumer in ipairs(own) do
  if not ticks[consumer] then
    call('HSET', svc, consumer, 0)
    call('EXPIRE', svc, 2 * AGE + 10000)
    ticks[consumer] = 0
  end
end

-- The session of ARGV[10]: the messages that Redis has assigned to the session and the session does
-- not hold are given again; the messages that the session holds and Redis has under "-" are claimed
-- for the session.
if ARGV[10] ~= '' then
  local consumer, held, tray = me .. ':' .. ARGV[10], {}, {}
  for _, seq in ipairs(words(ARGV[11])) do
    held[seq] = true
  end
  for _, pending in ipairs(call('XPENDING', box, GROUP, '-', '+', 100000, consumer)) do
    if held[pending[1]] then
      held[pending[1]] = nil
    else
      tray[#tray + 1] = pending[1]
    end
  end
  for seq in pairs(held) do
    if left > 0 and call('XPENDING', box, GROUP, seq, seq, 1, '-')[1] and
       call('XCLAIM', box, GROUP, consumer, 0, seq, 'JUSTID')[1] then
      left, load[consumer] = left - 1, (load[consumer] or 0) + 1
    end
  end
  if #tray > 0 then
    call('HSET', svn, consumer, table.concat(tray, ' '))
  else
    call('HDEL', svn, consumer)
  end
end

-- -> the size of an entry that may be given out. Any other entry is dropped and counted: nil. An
-- entry that this worker takes gets its body here.
local function fit(entry, taken)
  local value = {}
  for i = 1, #entry[2], 2 do
    value[entry[2][i]] = entry[2][i + 1]
  end
  if not (value.b and value.f and value.i and string.find(value.b, '^[{@]')) then
    bad = bad + 1
  elseif value.x and (tonumber(value.x) or now + 1) <= now then
    expired = expired + 1
  elseif taken and not select(2, whole(box, entry)) then
    gone = gone + 1
  else
    return math.min(tonumber(string.match(value.s or '', '^%d+$')) or #value.b, 2 ^ 32)
  end
  drop(entry[1])
end

-- Takes the messages that other workers have given to this worker's sessions.
local out, full = {}, {}
for _, consumer in ipairs(own) do
  local tray = mine[consumer].room and call('HGET', svn, consumer)
  if tray then
    local rest = {}
    for _, seq in ipairs(words(tray)) do
      if bytes <= 0 or unread <= 0 then
        rest[#rest + 1] = seq
      else
        local entry = call('XRANGE', box, seq, seq)[1]
        unread = unread - (entry and weigh(entry) or 0)
        local size = entry and fit(entry, true)
        if size then
          bytes = bytes - size
          out[#out + 1] = mine[consumer].number
          out[#out + 1] = entry
        else
          if not entry then
            gone = gone + 1
            drop(seq)
          end
          load[consumer] = (load[consumer] or 1) - 1
        end
      end
    end
    if #rest > 0 then
      full[consumer], more = true, 1
      call('HSET', svn, consumer, table.concat(rest, ' '))
    else
      call('HDEL', svn, consumer)
    end
  end
end

-- Gives messages out: each to the free consumer that holds least; of several, to the one that has
-- waited longest.
local free, trays, rung, ring = {}, {}, {}, {}
for consumer in pairs(ticks) do
  if (load[consumer] or 0) < credit and (not mine[consumer] or mine[consumer].room) then
    free[#free + 1] = consumer
  end
end
local waiting, at = left > 0 and call('XPENDING', box, GROUP, '-', '+', most, '-') or {}, 1

-- -> the next entry for a consumer, entries under "-" first; nil: the entry was gone; false: no
-- entry is left.
local function next_entry(consumer)
  local pending = waiting[at]
  if pending then
    at, left = at + 1, left - 1
    local entry = call('XCLAIM', box, GROUP, consumer, 0, pending[1])[1]
    if not entry then
      gone = gone + 1
      drop(pending[1])
    end
    return entry or nil
  end
  local read = call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', 1, 'STREAMS', box, '>')
  return read and read[1][2][1]
end

local given, last = 0, nil
while #free > 0 do
  if given == most or unread <= 0 then
    more = 1
    break
  end
  local best = 1
  for i = 2, #free do
    local its_load, best_load = load[free[i]] or 0, load[free[best]] or 0
    if its_load < best_load or (its_load == best_load and ticks[free[i]] < ticks[free[best]]) then
      best = i
    end
  end
  local consumer = free[best]
  local entry = next_entry(consumer)
  if entry == false then
    break
  end
  given, unread = given + 1, unread - (entry and weigh(entry) or 0)
  local taken = mine[consumer] and bytes > 0 and not full[consumer]
  local size = entry and fit(entry, taken)
  if size then
    tick = tick + 1
    ticks[consumer], load[consumer] = tick, (load[consumer] or 0) + 1
    last = last or {}
    last[consumer] = tick
    if load[consumer] >= credit then
      table.remove(free, best)
    end
    if taken then
      bytes = bytes - size
      out[#out + 1] = mine[consumer].number
      out[#out + 1] = entry
    else
      if mine[consumer] then
        full[consumer], more = true, 1
      elseif not rung[place_of(consumer)] then
        rung[place_of(consumer)] = true
        ring[#ring + 1] = place_of(consumer)
      end
      trays[consumer] = trays[consumer] or {}
      table.insert(trays[consumer], entry[1])
    end
  end
end
for consumer, seqs in pairs(trays) do
  local before = call('HGET', svn, consumer)
  call('HSET', svn, consumer, (before and before .. ' ' or '') .. table.concat(seqs, ' '))
  call('EXPIRE', svn, 2 * AGE + 10000)
end
if last then
  call('HSET', svc, '', tick)
  for consumer, its_tick in pairs(last) do
    call('HSET', svc, consumer, its_tick)
  end
end
local busy = left
for _, count in pairs(load) do
  busy = busy + count
end
return {table.concat({more, busy > 0 and 1 or 0, expired, gone, bad, moved}, ' '), ring, places, out}
