-- The append. The instructions that Redis spends on appends limit the whole server. So a call takes
-- all letters of a worker's turn; a run (letters for one mailbox, one behind the other) reads and
-- writes the hash :ids once; and the code makes few calls, on few arguments, with few new strings.
-- Rare work stands where the work happens, with its closures: Lua allocates a closure whenever the
-- closure's line is passed.
--
-- Every letter has an outcome of its own. An error is caught and becomes the answer of that letter
-- alone: a key of a wrong type in one mailbox does not disturb the other mailboxes. An error means
-- that nothing of the letter was stored, because reads check the types of all keys before the first
-- write, and because Redis refuses writes (no memory, no master, no disk) only before the first
-- write of a script.
local call, try, byte, era = redis.call, redis.pcall, string.byte, nil

-- Appends a run to the mailbox `box`, in order. `form` has one digit for each letter; P to Y instead of
-- 0 to 9 is a letter for a known address only. The letters stand in `args` from `pos` on: sender, id,
-- body, and as many further fields (name, value) as the letter's digit says, with the thread (t) as
-- the last one. The answers go into `out` from `slot` on: the fields of :at, when :at has any, then
-- for each letter "OUTCOME SEQ BEFORE TRIMMED" (OUTCOME 0 stored, 1 repeated, 2 full, 4 the address is
-- not known) or an error.
-- -> the next free positions in `args` and in `out`.
local function append_run(box, ids, at_key, form, args, pos, out, slot)
  -- `notes` is the HSET of the run, with `noted` elements so far. `by_field` has the same by field,
  -- because one id may come twice in a run. A run of a single letter needs neither.
  local letters = #form
  local known, by_field, notes
  local noted = 1
  if letters == 1 then
    known = call('HMGET', ids, '', args[pos + 1])
  else
    local id_pos = pos + 1
    by_field, notes = {}, {ids, ''}
    for i = 1, letters do
      notes[i + 2] = args[id_pos]
      id_pos = id_pos + 2 * (byte(form, i) % 16) + 3
    end
    known = call('HMGET', unpack(notes))
    notes = {ids}
  end
  local at = call('HKEYS', at_key)
  local unknown
  if at[1] then
    out[slot] = at
    slot = slot + 1
  elseif KNOWN then -- :known: the operator has made the address known
    local base = string.sub(box, 1, -5)
    unknown = call('EXISTS', base .. ':cur', base .. ':known') == 0
  end
  local len, before, trimmed, newest, old = call('XLEN', box), known[1], 0, nil, false
  local few = len < 16
  if not before then -- an operator may have deleted :ids
    local last = len > 0 and call('XREVRANGE', box, '+', '-', 'COUNT', 1)[1]
    before = last and last[1] or '0-0'
  end
  for i = 1, letters do
    local extra, from, id = 2 * (byte(form, i) % 16), args[pos], args[pos + 1]
    local field, answer, thread_key, thread, note = id, nil, nil, nil, by_field and by_field[id] or known[i + 1]
    if note and string.sub(note, string.find(note, ' ', 1, true) + 1) ~= from then
      field = id .. '\0' .. from
      note = by_field and by_field[field] or call('HGET', ids, field)
    end
    if note then
      local seq = string.sub(note, 1, string.find(note, ' ', 1, true) - 1)
      local stored_s = tonumber(string.match(seq, '^%d+')) / 1000
      if tonumber(call('TIME')[1]) - stored_s < DEDUPE then
        answer = '1 ' .. seq .. ' ' .. seq .. ' 0'
      end
    end
    if unknown and not answer and byte(form, i) > 63 then
      answer = '4 0-0 0-0 0'
    end
    local counted, over = extra > 0 and args[pos + 3] == 's' and args[pos + 4], 0
    if counted then
      over = (call('HGET', ids, '/bytes') or 0) + counted - BYTES
    end
    if not answer and (len >= MAX or len % 64 == 63 or over > 0) then
      local base = string.sub(box, 1, -5)
      --: include piece_sweep
      --: include piece_oldest
      if noted > 1 then -- the sweep reads :ids
        call('HSET', unpack(notes))
        notes, noted = {ids}, 1
      end
      local gone, freed = sweep(len, REJECT and 0 or len - MAX + 1, oldest(AGE), REJECT and 0 or over)
      len, trimmed = len - gone, trimmed + gone
      if REJECT and (len >= MAX or (len > 0 and over > freed)) then
        answer = '2 0-0 0-0 ' .. trimmed
        trimmed = 0
      end
    end
    if not answer and extra > 0 then
      if counted and string.byte(args[pos + 2]) == 64 and
         call('EXISTS', string.match(box, '^[^{]*') .. 'body:' .. string.sub(args[pos + 2], 2)) == 0 then
        answer = {err = 'ERR the shared body of a letter is not there'}
      elseif args[pos + 1 + extra] == 't' then
        thread_key = string.sub(box, 1, -4) .. 'th'
        local threads = try('ZCARD', thread_key) -- checks the type before the first write
        if type(threads) == 'table' then
          answer = threads
        end
      end
    end
    local further = field ~= id -- another sender has used the id: rare
    if further and not answer and not thread_key then -- :ids leads a thread to the first of them only
      thread_key, thread = string.sub(box, 1, -4) .. 'th', id
      local threads = try('ZCARD', thread_key)
      if type(threads) == 'table' then
        answer = threads
      end
    end
    if not answer then
      local seq
      if extra == 0 then
        seq = try('XADD', box, '*', 'f', from, 'i', id, 'b', args[pos + 2])
      else
        seq = try('XADD', box, '*', 'f', from, 'i', id, 'b',
          unpack(args, pos + 2, pos + 2 + extra))
      end
      if type(seq) == 'table' then
        answer = seq
      else
        if further and not note then -- piece_unnote.lua needs the count of such fields
          try('HINCRBY', ids, id .. '\0', 1)
          call('HSETNX', ids, id, '0-0 \0')
        end
        note = seq .. ' ' .. from
        if by_field then
          by_field[field], notes[noted + 1], notes[noted + 2], noted = note, field, note, noted + 2
        else
          call('HSET', ids, field, note, '', seq)
        end
        if counted then
          try('HINCRBY', ids, '/bytes', counted)
        end
        if thread_key then
          --: include piece_rank
          call('ZADD', thread_key, 0, (thread or args[pos + 2 + extra]) .. '\0' .. rank(seq))
          if call('ZCARD', thread_key) == 1 then
            call('EXPIRE', thread_key, 2 * AGE + 10000)
          end
        end
        answer = '0 ' .. seq .. ' ' .. before .. (trimmed == 0 and ' 0' or ' ' .. trimmed)
        trimmed = 0
        -- The first six digits of a seq change every 10,000 seconds; then the keys are kept anew.
        era = era or string.sub(seq, 1, 6)
        old = old or before < era or #before < 13
        len, before, newest = len + 1, seq, seq
      end
    end
    out[slot] = answer
    slot, pos = slot + 1, pos + 3 + extra
  end
  if by_field and newest then
    notes[noted + 1], notes[noted + 2] = '', newest
    call('HSET', unpack(notes))
  end
  -- Redis searches the compact form of a hash from end to end. A value longer than
  -- hash-max-listpack-value makes :ids a real hash once the mailbox holds more than a handful.
  if few and len > 15 then
    call('HSET', ids, '/', string.rep('-', 65))
  end
  if old then
    local base = string.sub(box, 1, -5)
    --: include piece_keep
    keep(AGE)
  end
  return pos, slot
end
