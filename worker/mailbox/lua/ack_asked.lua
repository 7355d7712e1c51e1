-- Acknowledges messages of which some asked for a receipt. These messages leave :rq, and each of
-- their senders is owed a receipt of state 2.
--
-- KEYS and the first three ARGV: ack.lua's
-- ARGV ADDRESS, how many messages at most, "FIRST LAST FIRST LAST …" of the acknowledged seqs
-- -> 1 when more messages may be waiting (the cursor stays; the worker calls again), else 0; ack.lua's
--    answer, or 0; then for each receipt its line (PREFIXowed) and "".
local function ack()
  --: include ack
end

local prefix = string.match(KEYS[1], '^([^{]*)')
--: include piece_rank
--: include piece_home
--: include piece_owe
local rq, left, out = string.sub(KEYS[1], 1, -5) .. ':rq', tonumber(ARGV[5]), {0, 0}
local function unrank(text)
  local ms_len = string.byte(text) - 96
  return string.sub(text, 2, 1 + ms_len) .. '-' .. string.sub(text, 3 + ms_len)
end
for first, last in string.gmatch(ARGV[6], '(%S+) (%S+)') do
  local members = left > 0 and redis.call('ZRANGEBYLEX', rq, '[' .. rank(first), '(' .. rank(last) .. '\1',
    'LIMIT', 0, left) or {}
  for _, member in ipairs(members) do
    local ranked, id, from = string.match(member, '^(%w+)%z(%Z*)%z(.*)$')
    redis.call('ZREM', rq, member)
    if ranked then
      owe(out, '2', from, ARGV[4], id, unrank(ranked))
    end
    left = left - 1
  end
end
if left == 0 then
  out[1] = 1
elseif ARGV[2] ~= '0-0' then
  out[2] = ack()
end
return out
