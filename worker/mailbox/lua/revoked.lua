-- The revocations that have changed since a version.
--
-- KEYS revoked revoked:log
-- ARGV the version that the caller knows, most of them, "1": go on with all of them from there
-- -> the version of Redis; "1": more was swept than the caller can know of, so all must be read from
--    the version 0 on; and then of each its version, its name, its value ("": taken back)
local head = redis.call('HGET', KEYS[1], '') or '0 0'
local version, floor = string.match(head, '^(%d+) (%d+)$')
local answer = {version or '0', '0'}
if ARGV[3] ~= '1' and tonumber(ARGV[1]) < tonumber(floor or '0') then
  answer[2] = '1'
  return answer
end
local names = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #names, 2 do
  answer[#answer + 1] = names[i + 1]
  answer[#answer + 1] = names[i]
  answer[#answer + 1] = redis.call('HGET', KEYS[1], names[i]) or ''
end
return answer
