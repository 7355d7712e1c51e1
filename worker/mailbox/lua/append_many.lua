-- Appends all letters of a worker's turn.
--
-- KEYS for each run: box ids at
-- ARGV for each run: its form, then its letters (piece_append.lua)
-- -> for each run: an array of the fields of :at, when there are any; then for each letter "OUTCOME
--    SEQ BEFORE TRIMMED" or an error.
--: include piece_append

local out, slot, pos, key = {}, 1, 1, 1
while KEYS[key] do
  local form = ARGV[pos]
  local ok, next_pos, next_slot =
    pcall(append_run, KEYS[key], KEYS[key + 1], KEYS[key + 2], form, ARGV, pos + 1, out, slot)
  if not ok then -- an error instead of next_pos, before any letter was stored: for all letters
    local answer = type(next_pos) == 'table' and next_pos or {err = next_pos}
    next_pos, next_slot = pos + 1, slot
    for i = 1, #form do
      out[next_slot] = answer
      next_pos, next_slot = next_pos + 2 * (byte(form, i) % 16) + 3, next_slot + 1
    end
    out[next_slot] = nil
  end
  pos, slot, key = next_pos, next_slot, key + 3
end
return out
