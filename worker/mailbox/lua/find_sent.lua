-- Searches :sent of an address for a message, newest entry first.
--
-- KEYS sent
-- ARGV ID, the newest entry to search, how many entries
-- -> 1 and the recipients, one on each line; or 0 and the oldest searched entry ("": the search
--    has reached the end of :sent).
local entries = redis.call('XREVRANGE', KEYS[1], ARGV[2], '-', 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
  local text = '\n\n' .. entry[2][2]
  local _, at = string.find(text, '\n\n' .. ARGV[1] .. '\n', 1, true)
  if at then
    return {1, string.sub(text, at + 1, string.find(text, '\n\n', at, true) - 1)}
  end
end
return {0, #entries == tonumber(ARGV[3]) and entries[#entries][1] or ''}
