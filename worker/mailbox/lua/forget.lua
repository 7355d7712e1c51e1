-- Removes a place from :at after a publish to the place was received by nobody. A worker that
-- listens by now lives, and its fields are true: a worker writes all its fields again whenever it
-- begins to listen, and that was before this script or comes after it.
--
-- KEYS at
-- ARGV PLACE, the place's channel
-- -> count of removed fields
if redis.call('PUBSUB', 'NUMSUB', ARGV[2])[2] > 0 then
  return 0
end
local removed, own = 0, ARGV[1] .. '/'
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if field == ARGV[1] or string.sub(field, 1, #own) == own then
    removed = removed + redis.call('HDEL', KEYS[1], field)
  end
end
return removed
