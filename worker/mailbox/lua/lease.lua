-- A worker says that it lives, until LEASE milliseconds from now by the clock of Redis. A worker
-- that comes, or comes back, says hello to all others, so that they learn of it before their own
-- next turn. A worker whose lease ends may have died between an append and its doorbell: the end of
-- a lease counts as lost doorbells.
--
-- KEYS places losses
-- ARGV PLACE LEASE, what the names of channels begin with, the hello, "1": doorbells were lost
-- -> the places that live, then the time in microseconds, and how often doorbells were lost
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ended = redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local new = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if ended > 0 or ARGV[5] == '1' then
  redis.call('INCR', KEYS[2])
end
local live = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, place in ipairs(new == 1 and live or {}) do
  if place ~= ARGV[1] then
    redis.call('PUBLISH', ARGV[3] .. place, ARGV[4])
  end
end
live[#live + 1] = string.format('%.0f', time[1] * 1000000 + time[2])
live[#live + 1] = redis.call('GET', KEYS[2]) or '0'
return live
