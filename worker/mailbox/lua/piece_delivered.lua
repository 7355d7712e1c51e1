-- Needs the locals `prefix` and `rank`.
--: include piece_highest

-- -> the fields of an entry by name, or nil: no entry with a sender and an id.
local function entry(base, seq)
  local found = redis.pcall('XRANGE', base .. ':box', seq, seq)
  if found.err or not found[1] then
    return nil
  end
  local value = {}
  for j = 1, #found[1][2], 2 do
    value[found[1][2][j]] = found[1][2][j + 1]
  end
  return value.i and value.f and value
end

-- -> the member of :rq that stands for an entry which asked for a receipt.
local function waiting(seq, value)
  return rank(seq) .. '\0' .. value.i .. '\0' .. value.f
end

-- Where sessions share the mailbox -> whether one of them has acknowledged the entry; nil where no
-- group is.
local function shared(base, seq)
  local group = redis.pcall('XINFO', 'GROUPS', base .. ':box')[1]
  if not group then
    return nil
  end
  local value = {}
  for j = 1, #group, 2 do
    value[group[j]] = group[j + 1]
  end
  return rank(value['last-delivered-id']) >= rank(seq) and
    #redis.call('XPENDING', base .. ':box', value.name, seq, seq, 1) == 0
end

-- -> whether a device has acknowledged the entry. A cursor of another epoch does not count.
local function delivered(base, seq, value)
  if value.r then
    return not redis.call('ZSCORE', base .. ':rq', waiting(seq, value))
  end
  local taken = shared(base, seq)
  if taken ~= nil then
    return taken
  end
  local acked = highest_of(base .. ':cur', redis.call('GET', prefix .. 'epoch'))
  return acked ~= nil and rank(acked) >= rank(seq)
end
