-- Counts a tick and finds out whether Redis still has the data that this worker knew. Of several
-- workers that notice a loss, the first worker gives the data a fresh epoch; the other workers then
-- find an epoch that is not the epoch they knew.
--
-- KEYS epoch tick
-- ARGV the known EPOCH ("": none), the known TICK, a fresh epoch, "1": the worker knows of a loss
-- -> EPOCH, TICK, and the error of a Redis that is a replica
local epoch = redis.call('GET', KEYS[1])
local tick = tonumber(redis.call('GET', KEYS[2]) or '0')
if not epoch or (epoch == ARGV[1] and (tick < tonumber(ARGV[2]) or ARGV[4] == '1')) then
  epoch = ARGV[3]
  redis.call('SET', KEYS[1], epoch)
end
-- An error (out of memory, a replica) must not end a mailbox that can still be read.
local now = redis.pcall('INCR', KEYS[2])
if type(now) == 'number' then
  return {epoch, now}
end
return {epoch, tick, string.find(now.err, 'READONLY', 1, true) and now.err or nil}
