-- KEYS box
-- -> the newest seq that the box ever gave; "": there is no box.
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then
  return ''
end
for j = 1, #info, 2 do
  if info[j] == 'last-generated-id' then
    return info[j + 1]
  end
end
return ''
