-- Positions as text. What stands in :ids may have been damaged.
local function is_position(text)
  local ms, n = string.match(type(text) == 'string' and text or '', '^(%d+)-(%d+)$')
  return ms and #ms < 20 and #n < 20
end

-- -> the newest seq that a box ever gave; "0-0": none. :ids knows this seq. XINFO STREAM copies the
-- first entry and the last entry whole, so XINFO is asked only about an empty box, or when :ids does
-- not know (somebody has deleted or damaged :ids, or has added an entry to the box).
local function newest_of(box_key, ids_key)
  local known, len = redis.pcall('HGET', ids_key, ''), redis.pcall('XLEN', box_key)
  if type(len) == 'number' and len > 0 and is_position(known) and
     not redis.call('XRANGE', box_key, '(' .. known, '+', 'COUNT', 1)[1] then
    return known
  end
  local info = redis.pcall('XINFO', 'STREAM', box_key)
  for j = 1, #info, 2 do
    if info[j] == 'last-generated-id' then
      return info[j + 1]
    end
  end
  return '0-0'
end
