-- `first` is the seq of the first entry of KEYS[1], `last` the newest seq that this stream ever
-- gave.
local first, last = '0-0', '0-0'
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info.err then
  for j = 1, #info, 2 do
    if info[j] == 'last-generated-id' then
      last = info[j + 1]
    end
    if info[j] == 'first-entry' and info[j + 1] then
      first = info[j + 1][1]
    end
  end
end
