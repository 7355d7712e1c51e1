-- Needs the locals `prefix`, `rank` and `now`.
--: include piece_delivered

-- Removes an entry. :ids keeps the id for DEDUPE seconds more, so that a repetition is still
-- recognised.
local function remove(base, seq, value)
  redis.call('XDEL', base .. ':box', seq)
  if value.r then
    redis.pcall('ZREM', base .. ':rq', waiting(seq, value))
  end
  if value.r then
    redis.pcall('HDEL', base .. ':rc', seq)
  end
  if value.s then
    redis.pcall('HINCRBY', base .. ':ids', '/bytes', '-' .. value.s)
  end
  if value.t then
    redis.pcall('ZREM', base .. ':th', value.t .. '\0' .. rank(seq))
  end
  local tag = string.sub(base, #prefix + 1)
  if value.x then
    redis.pcall('ZREM', prefix .. 'expiring', 'x ' .. seq .. ' ' .. tag)
  end
  for _, field in ipairs({value.i, value.i .. '\0' .. value.f}) do
    local known = redis.pcall('HGET', base .. ':ids', field)
    if type(known) == 'string' and string.sub(known, 1, #seq + 1) == seq .. ' ' then
      redis.pcall('ZADD', prefix .. 'expiring', now + DEDUPE, 'i ' .. seq .. ' ' .. tag .. '\n' .. field)
      if field ~= value.i and not value.t then
        redis.pcall('ZREM', base .. ':th', value.i .. '\0' .. rank(seq))
      end
      break
    end
  end
end
