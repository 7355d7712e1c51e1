-- -> the bytes that an entry adds to a page; and the bytes that were moved into the script to read the
-- entry, 0 when these are few. Field s has the size of a body that the entry only names
-- (piece_body.lua), so a body that the page has no room for is not read.
local function weigh(entry)
  local fields, size = entry[2], 100
  for j = 2, #fields, 2 do
    size = size + #fields[j]
  end
  local moved = size > 4096 and size or 0
  if fields[7] == 's' and fields[5] == 'b' and string.byte(fields[6]) == 64 then
    size = size + math.min(tonumber(string.match(fields[8], '^%d+$')) or 0, 2 ^ 32)
  end
  return size, moved
end
