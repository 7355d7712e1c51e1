-- Takes a message back, unless a device has acknowledged it.
--
-- KEYS box ids
-- ARGV SENDER ID ADDRESS
-- -> 0 not there, 1 removed, 2 acknowledged by a device; then for each receipt its line
--    (PREFIXowed) and "": one to the devices of ADDRESS, when ADDRESS ever had a device, and one to
--    the sender, when the sender asked for a receipt and the message was removed.
local prefix = string.match(KEYS[1], '^([^{]*)')
--: include piece_rank
--: include piece_home
--: include piece_owe
--: include piece_entry
local base, from, id, me = string.sub(KEYS[1], 1, -5), ARGV[1], ARGV[2], ARGV[3]
local seq = find(KEYS[2], id, from)
local value = seq and entry(base, seq)
if not value then
  return {0}
end
local read = delivered(base, seq, value)
if not read then
  remove(base, seq, value)
end
local out = {read and 2 or 1}
if redis.call('HLEN', base .. ':cur') > 0 then
  owe(out, '4', me, from, id, seq, value.l)
end
if value.r and not read then
  owe(out, '4', from, me, id, seq)
end
return out
