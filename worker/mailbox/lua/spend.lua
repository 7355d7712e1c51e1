-- Takes what a sender has stored out of the sender's bucket. The bucket fills with time and may be
-- in debt. A bucket that is full has no key.
--
-- KEYS spent
-- ARGV bytes stored, mailboxes begun; bytes a second, most bytes; mailboxes a minute, which are also
--    the most. A rate of 0: no limit.
-- -> the bytes and the mailboxes that are left
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known, empty_s = redis.call('HMGET', KEYS[1], 'b', 'm', 'at'), 0
local passed = math.max(0, now - (tonumber(known[3] or '') or now))

local function take(text, spent, rate_ms, most)
  if rate_ms == 0 then
    return 0
  end
  local left = math.min(most, (tonumber(text or '') or most) + passed * rate_ms) - spent
  empty_s = math.max(empty_s, (most - left) / rate_ms / 1000)
  return left
end

local bytes = take(known[1], tonumber(ARGV[1]), ARGV[3] / 1000, tonumber(ARGV[4]))
local boxes = take(known[2], tonumber(ARGV[2]), ARGV[5] / 60000, tonumber(ARGV[5]))
redis.call('HSET', KEYS[1], 'b', string.format('%.3f', bytes), 'm', string.format('%.3f', boxes),
  'at', string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(empty_s) + 1)
return {math.floor(bytes), math.floor(boxes)}
