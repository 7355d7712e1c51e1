-- Moves a device's cursor forward, or into a new epoch; never back. A cursor begins with the first
-- ack. An address has at most DEVICES of them (of a group: each address): the device that was used
-- longest ago gives way.
--
-- KEYS cur
-- ARGV DEVICE SEQ EPOCH; DEVICE of a group: the member's address, NUL, the member's device
-- -> 0 the cursor is there already, else 1 plus the count of devices that gave way
local cur, name, seq, epoch = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local owner, device = string.match(name, '^(%Z+)%z(%Z*)$')
local order_field, cursor = '\0' .. (owner or ''), seq .. '@' .. epoch
local state = redis.call('HMGET', cur, name, '\1', order_field)

-- Most acks are of a device that acknowledged last, and furthest, of its address. They must cost
-- little: Lua allocates a closure whenever the closure's line is passed, and all of them stand below.
if state[1] and state[1] == state[2] and state[3] == (device or name) .. '\0' then
  local ms, n, its_epoch = string.match(state[1], '^(%d+)-(%d+)@(.*)$')
  if its_epoch == epoch then
    local new_ms, new_n = string.match(seq, '^(%d+)-(%d+)$')
    if ms == new_ms then
      ms, new_ms = n, new_n
    end
    if #new_ms < #ms or (#new_ms == #ms and new_ms <= ms) then
      return 0
    end
    redis.call('HSET', cur, name, cursor, '\1', cursor)
    return 1
  end
end

--: include piece_highest
--: include piece_devices
local function reaches(text) -- -> whether this cursor of the same epoch is at the seq, or behind it
  local old, its_epoch = string.match(text or '', '^(%d+%-%d+)@(.*)$')
  return its_epoch == epoch and not before_seq(old, seq)
end
if reaches(state[1]) then
  return 0
end
local gone, order = 0, state[3] or ''
local list, is_new = used_last(order, device or name)
local args = {'HSET', cur, name, cursor}
local function put(field, value)
  args[#args + 1], args[#args + 2] = field, value
end
if not state[2] then
  local highest = highest_of(cur, epoch)
  state[2] = highest and highest .. '@' .. epoch
end
if not reaches(state[2]) then
  put('\1', cursor)
end
local function give_way(field)
  if field ~= name then
    gone = gone + redis.call('HDEL', cur, field)
  end
end
if is_new then
  while count_of(list) > DEVICES do
    local first = string.match(list, '^%Z*')
    list = string.sub(list, #first + 2)
    give_way(owner and owner .. '\0' .. first or first)
  end
end
if list ~= order then
  put(order_field, list)
end
if redis.call(unpack(args)) > 0 then
  redis.call('EXPIRE', cur, not owner and KNOWN or 2 * AGE + 10000)
end
if not state[1] and not owner then
  -- The device was seen, and has a cursor of its own now.
  local seen = redis.call('HGET', cur, '\2')
  local at, its_cursor = seen_at(seen or '', name)
  if at then
    seen = string.sub(seen, 1, at - 1) .. string.sub(seen, at + #name + #its_cursor + 2)
    redis.call('HSET', cur, '\2', seen)
  end
  -- Cursors of an earlier version stand in no list: some of them give way. HLEN counts two or three
  -- fields that are no cursors.
  local excess = redis.call('HLEN', cur) - DEVICES - (seen and 3 or 2)
  for _, field in ipairs(excess > 0 and redis.call('HRANDFIELD', cur, 128) or {}) do
    if gone < excess and not string.find(field, '^[%z\1\2]$') and
       not string.find('\0' .. list, '\0' .. field .. '\0', 1, true) then
      give_way(field)
    end
  end
end
return 1 + gone
