-- Enters a session into the mailbox of its address.
--
-- KEYS box ids at cur
-- ARGV DEVICE EPOCH FIELD OPENED AGE. FIELD is the session's field of :at. OPENED is the time in
--    microseconds at which the session opened. OPENED "0": the session is newer than all others, or,
--    with an AGE, AGE microseconds old.
-- -> 1 or 0: the device is known; its cursor, newest seq, newest lost seq, count of devices, count of
--    trimmed entries, OPENED, the other fields and values of :at.
--
-- No entry is read: the script runs whenever a client connects, and an entry may be large.
local box = KEYS[1]
local base = string.sub(box, 1, -5)
--: include piece_sweep
--: include piece_oldest
--: include piece_keep
--: include piece_newest
--: include piece_lost
--: include piece_devices
local age, len = AGE, redis.call('XLEN', KEYS[1])
redis.call('HLEN', KEYS[2]) -- checks the type before the first write
local device, epoch = ARGV[1], ARGV[2]
local state = redis.call('HMGET', KEYS[4], device, '\0', '\1', '\2')
local cursor, order, seen = state[1], state[2] or '', state[4] or ''
local at, others = redis.call('HGETALL', KEYS[3]), {}
local time, newest, taken = redis.call('TIME'), 0, {}
local opened, now = tonumber(ARGV[4]), time[1] * 1000000 + time[2]
for j = 1, #at, 2 do
  if at[j] ~= ARGV[3] then
    local other = tonumber(string.match(at[j + 1], '^%d+') or '0')
    taken[other], newest = true, math.max(newest, other)
    others[#others + 1] = at[j]
    others[#others + 1] = at[j + 1]
  end
end
if opened == 0 then
  opened = ARGV[5] == '' and math.max(now, newest + 1) or now - ARGV[5]
end
while taken[opened] do -- no two sessions are of the same age
  opened = opened + 1
end
redis.call('HSET', KEYS[3], ARGV[3], string.format('%.0f', opened) .. ' ' .. ARGV[1])
-- A year: without an end, the places of hosts that never come back would stay for ever.
redis.call('EXPIRE', KEYS[3], 31536000)
local trimmed = len > 0 and sweep(len, 0, oldest(age)) or 0
local lost = lost_of(KEYS[2])
-- A device without a cursor is only remembered as seen, with the position behind which its gaps
-- begin: a new device does not miss what was gone before. Of these, too, DEVICES are remembered.
local known, is_cursor = 1, cursor
if cursor then
  local list = used_last(order, device)
  if list ~= order then
    redis.call('HSET', KEYS[4], '\0', list)
  end
else
  local entry_at, its_cursor = seen_at(seen, device)
  if entry_at then
    cursor = its_cursor
  else
    known, cursor = 0, lost .. '@' .. epoch
    seen = seen .. device .. '\1' .. cursor .. '\0'
    while count_of(seen) > DEVICES do
      seen = string.sub(seen, #string.match(seen, '^%Z*') + 2)
    end
    redis.call('HSET', KEYS[4], '\2', seen)
  end
end
local devices = redis.call('HLEN', KEYS[4]) - ((state[2] or is_cursor) and 1 or 0) - (state[3] and 1 or 0) -
  (seen ~= '' and 1 or 0) + count_of(seen)
keep(age)
return {known, cursor, newest_of(box, KEYS[2]), lost, devices, trimmed, opened, others}
