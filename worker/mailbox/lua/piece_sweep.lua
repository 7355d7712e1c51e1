-- Retention. Needs the locals `box` and `base`.
--: include piece_forget

-- Removes the oldest entries of a box that holds `size` entries: `excess` entries, as many as have
-- `excess_bytes` bytes of counted bodies, and all from before `oldest_ms`; about a hundred at most,
-- so that no single call is long.
-- -> the count of removed entries, and the counted bytes of their bodies.
local function sweep(size, excess, oldest_ms, excess_bytes)
  local removed, lost, freed = 0, nil, 0
  excess_bytes = excess_bytes or 0
  while removed < 128 do
    local page = {}
    if excess > removed then
      page = redis.call('XRANGE', box, '-', '+', 'COUNT', math.min(excess - removed, 16))
    elseif freed < excess_bytes then -- one at a time: a large entry may be enough
      page = redis.call('XRANGE', box, '-', '+', 'COUNT', 1)
    elseif oldest_ms > 0 then -- an entry that stays is not read: it may be large
      page = redis.call('XRANGE', box, '-', string.format('(%.0f-0', oldest_ms), 'COUNT', 4)
    end
    local count, is_old = 0, false
    for _, entry in ipairs(page) do
      is_old = tonumber(string.match(entry[1], '^%d+')) < oldest_ms
      if removed + count >= excess and freed >= excess_bytes and not is_old then
        break
      end
      count = count + 1
      lost = entry[1]
      freed = freed + forget(entry)
    end
    if count == 0 then
      break
    end
    removed = removed + count
    redis.call('XTRIM', box, 'MAXLEN', size - removed)
    if count < #page or (removed >= excess and freed >= excess_bytes and not is_old) then
      break
    end
  end
  if lost then
    redis.call('HSET', base .. ':ids', '/lost', lost)
  end
  if freed > 0 then
    local left = redis.pcall('HINCRBY', base .. ':ids', '/bytes', string.format('%.0f', -freed))
    if type(left) ~= 'number' or left < 0 then
      redis.call('HSET', base .. ':ids', '/bytes', 0)
    end
  end
  return removed, freed
end
