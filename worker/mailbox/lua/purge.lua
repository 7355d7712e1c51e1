-- Removes the oldest entries of a mailbox for an operator, as retention does: readers are told of a
-- gap. No receipt is owed for them.
--
-- KEYS box ids
-- ARGV END COUNT BYTES. END: the last position that may go, as XRANGE wants it; "": the newest seq.
--    About COUNT entries and BYTES bytes go in one call at most.
-- -> count of removed entries, their bytes, 1 when more may be there (else 0), END for the next call:
--    entries that come meanwhile stay.
--: include piece_weigh
--: include piece_newest
local box, base = KEYS[1], string.sub(KEYS[1], 1, -5)
--: include piece_forget
local to, count, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local len = redis.call('XLEN', box)
redis.call('HLEN', KEYS[2]) -- checks the type before the first write
if to == '' then
  to = newest_of(box, KEYS[2])
end
local removed, size, freed, step, lost, more = 0, 0, 0, 1, nil, 0
while true do
  local page = redis.call('XRANGE', box, '-', to, 'COUNT', step)
  for _, entry in ipairs(page) do
    size, freed, lost = size + weigh(entry), freed + forget(entry), entry[1]
  end
  removed = removed + #page
  if #page > 0 then
    redis.call('XTRIM', box, 'MAXLEN', len - removed)
  end
  if #page < step then
    break
  end
  -- Few at a time, and as many as fit at the size of the entries so far: the next may be large.
  step = math.min(2 * step, 4, count - removed, math.floor((bytes - size) * removed / size))
  if step < 1 then
    more = 1
    break
  end
end
if lost then
  redis.call('HSET', KEYS[2], '/lost', lost)
end
if freed > 0 then
  local left = redis.pcall('HINCRBY', KEYS[2], '/bytes', string.format('%.0f', -freed))
  if type(left) ~= 'number' or left < 0 then
    redis.call('HSET', KEYS[2], '/bytes', 0)
  end
end
return {removed, size, more, to}
