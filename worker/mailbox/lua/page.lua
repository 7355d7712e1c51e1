-- Reads a page of a log. The page ends by bytes, but holds one entry at least.
--
-- KEYS box
-- ARGV COMMAND START COUNT BYTES. COMMAND: XRANGE, or XREVRANGE for a page that goes backwards.
--    START: the first position that may be in the page.
-- -> 0: the log ends here; else 1 and more, for each byte that was read in vain; the seq of the last
--    entry, or ""; then the entries. Last, of a page that goes forwards: the newest seq that
--    retention removed, when this seq is not before START. The reader has a gap then.
--: include piece_weigh
--: include piece_body
local command, from, count, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local to, step, held, used, out = command == 'XRANGE' and '+' or '-', 1, 0, 0, {0, ''}
while true do
  local found = redis.call(command, KEYS[1], from, to, 'COUNT', step)
  for _, entry in ipairs(found) do
    local size, moved = weigh(entry)
    if out[1] > 0 or held == count or held > 0 and used + size > bytes then
      out[1] = math.max(out[1], 1) + moved
    else
      held, used = held + 1, used + size
      out[2], out[held + 2] = entry[1], whole(KEYS[1], entry)
    end
  end
  if out[1] > 0 or #found < step then
    break
  end
  -- An entry that is read and has no room in the page is read in vain. So a step reads as many as
  -- fit at the size of the entries so far, and few at a time, because the next may be large.
  from, step = '(' .. out[2], math.min(2 * step, 4, math.floor((bytes - used) * held / used))
  if step < 1 then
    out[1] = 1
    break
  end
end
local ids = string.sub(KEYS[1], 1, -4) .. 'ids'
local lost = to == '+' and redis.pcall('HGET', ids, '/lost')
-- Most readers are milliseconds ahead of the removed entries. Such a page pays for no closure: Lua
-- allocates a closure whenever the closure's line is passed. (A time of today has 13 digits.)
if type(lost) == 'string' and not (string.byte(lost, 14) == 45 and string.byte(ARGV[2], 14) == 45 and
   string.sub(lost, 1, 13) < string.sub(ARGV[2], 1, 13)) then
  --: include piece_newest
  --: include piece_rank
  if is_position(lost) and rank(lost) >= rank(ARGV[2]) then
    -- Retention removes the oldest entries. A position behind an entry that is there, or behind all
    -- that the log ever held, is damaged, and a reader that believed it would skip messages.
    local is_true
    if held > 0 then
      is_true = rank(lost) < rank(out[3][1])
    else
      is_true = redis.call('XLEN', KEYS[1]) == 0 and rank(lost) <= rank(newest_of(KEYS[1], ids))
    end
    out[#out + 1] = is_true and lost or nil
  end
end
return out
