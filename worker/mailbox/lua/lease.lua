-- Renews the lease of a worker: the worker counts as living for LEASE milliseconds from now, by the
-- clock of Redis. A worker without a lease is new or comes back; its hello goes to all other
-- workers, so that the others learn of the worker before their own next renewal. A worker whose lease
-- ends may have died between an append and its doorbell: an ended lease counts as lost doorbells.
--
-- KEYS places losses
-- ARGV PLACE LEASE, the beginning of all names of channels, the hello, "1": doorbells were lost
-- -> the places with a lease, then the time in microseconds, and how often doorbells were lost
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
