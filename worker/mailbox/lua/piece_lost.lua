-- Needs the local `is_position`.
-- -> the newest seq that retention removed from the box of these :ids.
local function lost_of(ids_key)
  local lost = redis.call('HGET', ids_key, '/lost')
  return is_position(lost) and lost or '0-0'
end
