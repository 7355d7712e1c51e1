-- Enters a revocation, or takes one back. Each change has the next version. A name that was taken
-- back stays in the log for a day, so that a worker which reads on from an older version learns of
-- it. Ended revocations are swept here, some at a time; workers see the end by their own clocks.
--
-- KEYS revoked revoked:log revoked:ends
-- ARGV WHAT, its value ("": taken back), its end in seconds ("": none), how many there may be,
--    the version that the caller knows: after a loss Redis may be behind
-- -> the version; 0: there is no room for another, or none of that name to take back
local now = tonumber(redis.call('TIME')[1])
local version, floor = string.match(redis.call('HGET', KEYS[1], '') or '0 0', '^(%d+) (%d+)$')
version, floor = tonumber(version or '0'), tonumber(floor or '0')
local ended = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)

for _, what in ipairs(ended) do
  if redis.call('HDEL', KEYS[1], what) == 0 then
    floor = math.max(floor, tonumber(redis.call('ZSCORE', KEYS[2], what) or '0'))
  end
  redis.call('ZREM', KEYS[2], what)
  redis.call('ZREM', KEYS[3], what)
end

local known = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1
local count = redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], '')
local away = ARGV[2] == ''
local done = known or not away and count < tonumber(ARGV[4])

if done then
  version = math.max(version, tonumber(ARGV[5])) + 1
  redis.call('ZADD', KEYS[2], string.format('%.0f', version), ARGV[1])
  if away then
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('ZADD', KEYS[3], string.format('%.0f', now + 86400), ARGV[1])
  else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    redis.call('ZREM', KEYS[3], ARGV[1])
    if ARGV[3] ~= '' then
      redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
    end
  end
end
if done or #ended > 0 then
  redis.call('HSET', KEYS[1], '', string.format('%.0f %.0f', version, floor))
end
return done and version or 0
