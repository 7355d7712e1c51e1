-- Looks at a mailbox, for an operator.
--
-- KEYS box ids at cur
-- ARGV "1": the devices and the sessions too; else: neither (of a group, whose members are many)
-- -> 1 or 0: something is known of the address; count of entries, oldest seq or "", newest seq, newest
--    lost seq, bytes of bodies that count for BYTES, fields and values of :cur, of :at.
--
-- Each list is one step of HSCAN, so the answer is bounded. The body of the oldest entry is read.
--: include piece_newest
--: include piece_lost
local box, ids, out = KEYS[1], KEYS[2], {}
local known = redis.call('EXISTS', box, ids, KEYS[3], KEYS[4], string.sub(ids, 1, -4) .. 'known')
local first = redis.call('XRANGE', box, '-', '+', 'COUNT', 1)[1]
local bytes = redis.call('HGET', ids, '/bytes')
for i = 3, 4 do
  out[i] = ARGV[1] == '1' and redis.call('HSCAN', KEYS[i], 0, 'COUNT', 1000)[2] or {}
end
return {known > 0 and 1 or 0, redis.call('XLEN', box), first and first[1] or '', newest_of(box, ids), lost_of(ids),
  tonumber(bytes) or 0, out[4], out[3]}
