-- Appends one letter that asks for a receipt (r) or that expires (x), and notes both.
--
-- KEYS, ARGV and answer: append.lua.
local function append()
  --: include append
end

local prefix = string.match(KEYS[1], '^([^{]*)')
--: include piece_rank
local base, wants_receipt, expires_at = string.sub(KEYS[1], 1, -5), false, nil
for j = 1, #ARGV, 2 do
  if ARGV[j] == 'r' then
    wants_receipt = true
  elseif ARGV[j] == 'x' then
    expires_at = tonumber(ARGV[j + 1])
  end
end
-- Both reads check the types before the append writes.
local waiting = wants_receipt and redis.call('ZCARD', base .. ':rq')
if expires_at then
  redis.call('ZCARD', prefix .. 'expiring')
end
local answer = append()
local seq = string.match(type(answer) == 'table' and answer[#answer] or answer, '^0 (%S+) ')
if seq and wants_receipt then
  redis.call('ZADD', base .. ':rq', 0, rank(seq) .. '\0' .. ARGV[4] .. '\0' .. ARGV[2])
  if waiting == 0 then
    redis.call('EXPIRE', base .. ':rq', 2 * AGE + 10000)
  end
end
if seq and expires_at then
  local due = math.min(expires_at, tonumber(redis.call('TIME')[1]) + AGE)
  redis.call('ZADD', prefix .. 'expiring', due, 'x ' .. seq .. ' ' .. string.sub(base, #prefix + 1))
end
return answer
