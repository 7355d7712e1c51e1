-- -> whether the position `a` lies before `b`. The digits may be too many for a double.
local function before_seq(a, b)
  local a_ms, a_n = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)-(%d+)$')
  if a_ms == b_ms then
    a_ms, b_ms = a_n, b_n
  end
  return #a_ms < #b_ms or (#a_ms == #b_ms and a_ms < b_ms)
end

-- -> the newest seq that a device has acknowledged in this epoch; nil: none. A :cur of an earlier
-- version has no such field: its cursors are searched once.
local function highest_of(cur_key, its_epoch)
  local text = its_epoch and redis.pcall('HGET', cur_key, '\1')
  if its_epoch and not text and redis.call('HLEN', cur_key) > 0 then
    local top = '0-0'
    for _, value in ipairs(redis.call('HVALS', cur_key)) do
      local at, of_epoch = string.match(value, '^(%d+%-%d+)@(.*)$')
      if at and of_epoch == its_epoch and before_seq(top, at) then
        top = at
      end
    end
    text = top .. '@' .. its_epoch
    redis.call('HSET', cur_key, '\1', text)
  end
  local at, of_epoch = string.match(type(text) == 'string' and text or '', '^(%d+%-%d+)@(.*)$')
  return at and of_epoch == its_epoch and at or nil
end
