-- Moves a device's cursor forward, or into a new epoch; never back.
--
-- KEYS cur
-- ARGV DEVICE SEQ EPOCH
-- -> 1 moved, 0 the cursor is there already
local old = redis.call('HGET', KEYS[1], ARGV[1])
local ms, n, epoch = string.match(old or '', '^(%d+)-(%d+)@(.*)$')
local function less(a, b) -- of numbers as text, whose digits may be too many for a double
  return #a < #b or (#a == #b and a < b)
end
if epoch == ARGV[3] then
  local new_ms, new_n = string.match(ARGV[2], '^(%d+)-(%d+)$')
  if less(new_ms, ms) or (new_ms == ms and not less(n, new_n)) then
    return 0
  end
end
if redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '@' .. ARGV[3]) == 1 then
  redis.call('EXPIRE', KEYS[1], 2 * AGE + 10000)
end
return 1
