-- Searches :sent of an address for a message, newest entry first. The search ends by bytes.
--
-- KEYS sent
-- ARGV ID, the newest entry to search, how many entries, how many bytes
-- -> 1 and the recipients, one on each line; or 0, the oldest searched entry ("": the search has
--    reached the end of :sent), and how many entries and bytes were searched.
local from, left, bytes = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local entries_searched, bytes_searched, step = 0, 0, 1
while left > entries_searched and bytes > bytes_searched do
  step = math.min(step, left - entries_searched)
  local entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', step)
  for _, entry in ipairs(entries) do
    local text = '\n\n' .. entry[2][2]
    local _, at = string.find(text, '\n\n' .. ARGV[1] .. '\n', 1, true)
    if at then
      return {1, string.sub(text, at + 1, string.find(text, '\n\n', at, true) - 1)}
    end
    entries_searched, bytes_searched = entries_searched + 1, bytes_searched + #text
    from = '(' .. entry[1]
  end
  if #entries < step then
    return {0, '', entries_searched, bytes_searched}
  end
  step = math.min(2 * step, 8)
end
return {0, string.sub(from, 2), entries_searched, bytes_searched}
