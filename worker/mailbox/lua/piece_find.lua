-- -> the seq of the message with this sender and id, or nil.
local function find(ids, id, from)
  for _, field in ipairs({id, id .. '\0' .. from}) do
    local known = redis.call('HGET', ids, field)
    local seq, sender = string.match(known or '', '^(%d+-%d+) (.*)$')
    if sender == from then
      return seq
    end
  end
end
