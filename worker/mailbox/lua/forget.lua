-- Removes a place from :at after a publish to the place had no receiver. When the place has a
-- subscriber by now, the worker lives and its fields are true: a worker writes all its fields again
-- whenever the worker subscribes, and this writing was before the script or comes after the script.
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
