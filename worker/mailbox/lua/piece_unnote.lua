-- Takes a removed message out of :ids. When other senders have used the id too, "0-0 NUL" keeps the
-- place of the first of them: a repetition by another sender must still find its own field.
-- -> true: the message was the first with its id.
local function unnote(ids_key, its_id, sender, seq)
  local others, further = its_id .. '\0', its_id .. '\0' .. sender
  local found = redis.pcall('HMGET', ids_key, its_id, others, further)
  local function is_of(text)
    return text and string.sub(text, 1, #seq + 1) == seq .. ' '
  end
  if is_of(found[1]) then
    if found[2] then
      redis.pcall('HSET', ids_key, its_id, '0-0 \0')
    else
      redis.pcall('HDEL', ids_key, its_id)
    end
    return true
  end
  if is_of(found[3]) then
    redis.pcall('HDEL', ids_key, further)
    local left = found[2] and redis.pcall('HINCRBY', ids_key, others, -1)
    if left and (type(left) ~= 'number' or left < 1) then
      redis.pcall('HDEL', ids_key, others)
      if found[1] == '0-0 \0' then
        redis.pcall('HDEL', ids_key, its_id)
      end
    end
  end
  return false
end
