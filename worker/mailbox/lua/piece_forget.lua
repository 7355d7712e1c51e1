-- What goes with an entry that retention removes. Needs the local `base`.
--: include piece_rank
--: include piece_unnote

-- Removes all that other keys know of an entry.
-- -> the size of its body, when that is counted in :ids.
local function forget(entry)
  local seq, value = entry[1], {}
  for j = 1, #entry[2], 2 do
    value[entry[2][j]] = entry[2][j + 1]
  end
  if value.i and value.f and not unnote(base .. ':ids', value.i, value.f, seq) and not value.t then
    redis.pcall('ZREM', base .. ':th', value.i .. '\0' .. rank(seq))
  end
  if value.t then
    redis.pcall('ZREM', base .. ':th', value.t .. '\0' .. rank(seq))
  end
  if value.r then
    redis.pcall('HDEL', base .. ':rc', seq)
  end
  if value.x then
    local prefix = string.match(base, '^([^{]*)')
    redis.pcall('ZREM', prefix .. 'expiring', 'x ' .. seq .. ' ' .. string.sub(base, #prefix + 1))
  end
  if value.r and value.i and value.f then
    redis.pcall('ZREM', base .. ':rq', rank(seq) .. '\0' .. value.i .. '\0' .. value.f)
  end
  return tonumber(string.match(value.s or '', '^%d+$')) or 0
end
