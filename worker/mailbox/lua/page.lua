-- Reads a page of a log. The page ends by bytes, but holds one entry at least.
--
-- KEYS box
-- ARGV COMMAND START COUNT BYTES. COMMAND: XRANGE, or XREVRANGE for a page that goes backwards.
--    START: the first position that may be in the page.
-- -> 1: the log may hold entries behind the page, else 0; the seq of the last entry, or ""; then the
--    entries.
--: include piece_weigh
--: include piece_body
local command, from, count, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local to, step, held, used, out = command == 'XRANGE' and '+' or '-', 1, 0, 0, {0, ''}
while true do
  local found = redis.call(command, KEYS[1], from, to, 'COUNT', step)
  for _, entry in ipairs(found) do
    local size = weigh(entry)
    if held == count or held > 0 and used + size > bytes then
      out[1] = 1
      return out
    end
    held, used = held + 1, used + size
    out[2], out[held + 2] = entry[1], whole(KEYS[1], entry)
  end
  if #found < step then
    return out
  end
  -- An entry that is read and has no room in the page is read in vain. So a step reads as many as
  -- fit at the size of the entries so far, and few at a time, because the next may be large.
  from, step = '(' .. out[2], math.min(2 * step, 4, math.floor((bytes - used) * held / used))
  if step < 1 then
    out[1] = 1
    return out
  end
end
