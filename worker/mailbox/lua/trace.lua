-- What a recipient's mailbox knows of a message.
--
-- KEYS box ids
-- ARGV SENDER ID ADDRESS
-- -> STATE, its seq or "", the seq of the receipt that says delivered, read, recalled, expired (each ""
--    when there is none), expiresAt or "". STATE: 0 nothing is known of it; 1 it lies here; 2 it lies
--    here, and a device has acknowledged it; 3 it lay here, and was taken out before its age.
local prefix = string.match(KEYS[1], '^([^{]*)')
--: include piece_rank
--: include piece_home
--: include piece_find
--: include piece_delivered
local base, from, id, me = string.sub(KEYS[1], 1, -5), ARGV[1], ARGV[2], ARGV[3]
local seq = find(KEYS[2], id, from)
if not seq then
  return {0, '', '', '', '', '', ''}
end
-- The receipts' ids are made from the message (piece_owe.lua).
local function receipt(state, to, sender)
  local receipt_id = 'receipt-' .. state .. '.' .. redis.sha1hex(table.concat({sender, to, id, seq}, '\0'))
  local is_good, there = pcall(find, prefix .. home(to) .. ':ids', receipt_id, sender)
  return is_good and there or nil
end
local value = entry(base, seq)
local state = 3
if value then
  state = delivered(base, seq, value) and 2 or 1
end
local read = redis.pcall('HGET', base .. ':rc', seq)
return {state, seq, receipt('2', from, me) or '', type(read) == 'string' and read or '',
  receipt('4', from, me) or receipt('4', me, from) or '', receipt('5', from, me) or '', value and value.x or ''}
