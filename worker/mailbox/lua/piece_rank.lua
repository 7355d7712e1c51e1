-- The rank of a seq: bytes that sort as the seqs do. Each number has its length in front.
local function rank(text)
  local ms, n = string.match(text, '^(%d+)-(%d+)$')
  return string.char(96 + #ms) .. ms .. string.char(96 + #n) .. n
end
