-- Appends one letter to a mailbox.
--
-- KEYS box ids at
-- ARGV "f" FROM "i" ID "b" BODY, then further fields as name and value, the thread (t) last; "k"
--    instead of "f": only for an address that is known
-- -> "OUTCOME SEQ BEFORE TRIMMED" (piece_append.lua). When :at has fields: an array of these
--    fields, and that text as the last element. An error: nothing was stored.
--: include piece_append

local out = {}
local form = string.char((ARGV[1] == 'k' and 77 or 45) + #ARGV / 2)
append_run(KEYS[1], KEYS[2], KEYS[3], form, {ARGV[2], ARGV[4], unpack(ARGV, 6)}, 1, out, 1)
local answer = out[2] or out[1]
if type(answer) == 'table' then
  error(answer)
end
if not out[2] then
  return answer
end
local at = out[1]
at[#at + 1] = answer
return at
