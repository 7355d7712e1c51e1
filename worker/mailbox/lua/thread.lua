-- Reads messages of a thread. The first message of a thread has the thread's name as its id, and
-- does not stand in :th. First messages of further senders with the same id do.
--
-- KEYS box ids th
-- ARGV THREAD BEFORE COUNT BYTES; BEFORE "": from the newest on; BYTES 0: the first position alone
--    is wanted, and no entry is read
-- -> 0: the thread has no older messages; else 1 and more, for each byte that was read in vain; the seq
--    of the last message that was searched for, or ""; then entries, newest first. The page ends by
--    bytes, but holds one entry at least.
--: include piece_rank
--: include piece_weigh
--: include piece_body
local low, count, bytes = ARGV[1] .. '\0', tonumber(ARGV[3]), tonumber(ARGV[4])
local before = ARGV[2] ~= '' and rank(ARGV[2])
local found = redis.call('ZREVRANGEBYLEX', KEYS[3],
  '(' .. (before and low .. before or ARGV[1] .. '\1'), '[' .. low, 'LIMIT', 0, count + 1)
for j = 1, #found do
  found[j] = string.sub(found[j], #low + 1)
end
local root = redis.call('HGET', KEYS[2], ARGV[1])
root = root and string.match(root, '^(%d+-%d+) ')
root = root and root ~= '0-0' and rank(root) -- 0-0: piece_unnote.lua
if root and (not before or root < before) then
  local at = #found + 1
  while at > 1 and found[at - 1] < root do
    at = at - 1
  end
  if found[at - 1] ~= root then
    table.insert(found, at, root)
  end
end
local out = {0, ''}
for j, ranked in ipairs(found) do
  local ms_len = string.byte(ranked) - 96
  local seq = string.sub(ranked, 2, 1 + ms_len) .. '-' .. string.sub(ranked, 3 + ms_len)
  if ARGV[4] == '0' then
    return {1, seq}
  end
  local entry = j <= count and bytes > 0 and redis.call('XRANGE', KEYS[1], seq, seq)[1]
  local size, moved = 0, 0
  if entry then
    size, moved = weigh(entry)
  end
  if j > count or bytes <= 0 or #out > 2 and size > bytes then
    out[1] = 1 + moved
    break
  end
  bytes, out[2] = bytes - size, seq
  if entry then
    out[#out + 1] = whole(KEYS[1], entry)
  end
end
return out
