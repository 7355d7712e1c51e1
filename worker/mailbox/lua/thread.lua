-- Reads messages of a thread. The first message of a thread has the thread's name as its id, and
-- does not stand in :th.
--
-- KEYS box ids th
-- ARGV THREAD BEFORE COUNT; BEFORE "": from the newest on
-- -> entries, newest first
--: include piece_rank
local low, count = ARGV[1] .. '\0', tonumber(ARGV[3])
local before = ARGV[2] ~= '' and rank(ARGV[2])
local found = redis.call('ZREVRANGEBYLEX', KEYS[3],
  '(' .. (before and low .. before or ARGV[1] .. '\1'), '[' .. low, 'LIMIT', 0, count)
for j = 1, #found do
  found[j] = string.sub(found[j], #low + 1)
end
local root = redis.call('HGET', KEYS[2], ARGV[1])
root = root and string.match(root, '^(%d+-%d+) ')
root = root and rank(root)
if root and (not before or root < before) then
  local at = #found + 1
  while at > 1 and found[at - 1] < root do
    at = at - 1
  end
  if found[at - 1] ~= root then
    table.insert(found, at, root)
  end
end
local out = {}
for j = 1, math.min(#found, count) do
  local ranked = found[j]
  local ms_len = string.byte(ranked) - 96
  local seq = string.sub(ranked, 2, 1 + ms_len) .. '-' .. string.sub(ranked, 3 + ms_len)
  local entry = redis.call('XRANGE', KEYS[1], seq, seq)[1]
  if entry then
    out[#out + 1] = entry
  end
end
return out
