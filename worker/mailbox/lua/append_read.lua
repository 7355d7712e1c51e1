-- Appends a receipt that says "read" (state 3) to the mailbox of a message's sender. The reader's
-- mailbox remembers the receipt's seq, so that the second receipt about a message is a repetition
-- of the first.
--
-- KEYS append.lua's (of the sender), then the reader's box
-- ARGV append.lua's, then the sender of the message, and the id of the message
-- -> append.lua's answer, or OUTCOME 3: the reader's mailbox holds no such message that asked for
--    this receipt.
local function append()
  --: include append
end

--: include piece_find
-- The append reads all of KEYS and ARGV: the further ones leave the tables here.
local box, id = table.remove(KEYS), table.remove(ARGV)
local base, to = string.sub(box, 1, -5), string.sub(KEYS[1], 1, -5)
local sender = table.remove(ARGV)
local seq = find(base .. ':ids', id, sender)
local entry = seq and redis.call('XRANGE', box, seq, seq)[1]
local asked = false
for j = 1, entry and #entry[2] or 0, 2 do
  asked = asked or (entry[2][j] == 'r' and entry[2][j + 1] == '3')
end
if not asked then
  return '3 0-0 0-0 0'
end
local first = redis.call('HGET', base .. ':rc', seq)
if first then
  local at = redis.call('HKEYS', to .. ':at')
  at[#at + 1] = '1 ' .. first .. ' ' .. first .. ' 0'
  return at
end
local answer = append()
local receipt =
  string.match(type(answer) == 'table' and answer[#answer] or answer, '^[01] (%S+) ')
if receipt then
  redis.call('HSET', base .. ':rc', seq, receipt)
  redis.call('EXPIRE', base .. ':rc', 2 * AGE + 10000)
end
return answer
