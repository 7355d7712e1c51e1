-- -> the time in ms before which an entry is too old.
local function oldest(age)
  return (tonumber(redis.call('TIME')[1]) - age) * 1000
end
