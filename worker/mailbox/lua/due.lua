-- Removes messages that have expired, and takes over receipts that another worker has left in
-- PREFIXowed for too long. A key of a wrong type at one address does not delay the other addresses.
--
-- KEYS expiring owed
-- ARGV how many of each at most
-- -> count of removed messages, 1 when more may be due (else 0), then for each receipt its line
--    (PREFIXowed) and its seq in the recipient's mailbox ("": not there yet).
local prefix = string.sub(KEYS[1], 1, -9)
--: include piece_rank
--: include piece_home
--: include piece_owe
--: include piece_entry
--: include piece_unnote

-- -> the address of a hash tag: the opposite of home.
local function tenant(tag)
  return (string.gsub(string.sub(tag, 2, -2), '%%(%x%x)', function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local max, out = tonumber(ARGV[1]), {0, 0}

local function expire(member, seq, tag)
  local base = prefix .. tag
  local value = entry(base, seq)
  if value and value.x and tonumber(value.x) > now then -- the member was due because of the age alone
    redis.call('ZADD', KEYS[1], math.min(tonumber(value.x), now + AGE), member)
    return
  end
  redis.call('ZREM', KEYS[1], member)
  if not value or delivered(base, seq, value) then
    return
  end
  remove(base, seq, value)
  out[1] = out[1] + 1
  if value.r then
    owe(out, '5', value.f, tenant(tag), value.i, seq)
  end
end

local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, max)
if #due == max then
  out[2] = 1
end
for _, member in ipairs(due) do
  local kind, seq, rest = string.match(member, '^(%l) (%d+-%d+) (.*)$')
  if kind == 'x' then
    expire(member, seq, rest)
  else
    redis.call('ZREM', KEYS[1], member)
    local tag, field = string.match(rest or '', '^(%b{})\n(.*)$')
    if kind == 'i' and tag then
      -- Unless the message was sent again since: then the field has another seq.
      local id, from = string.match(field, '^(%Z*)%z(.*)$')
      unnote(prefix .. tag .. ':ids', id or field, from or '', seq)
    end
  end
end
due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, max)
if #due == max then
  out[2] = 1
end
for _, line in ipairs(due) do
  local to, from, receipt_id = string.match(line, '^%d\n([^\n]*)\n([^\n]*)\n[^\n]*\n([^\n]*)\n')
  local is_good, known = pcall(find, prefix .. home(to or '') .. ':ids', receipt_id or '', from or '')
  redis.call('ZADD', KEYS[2], now + 5, line)
  out[#out + 1] = line
  out[#out + 1] = is_good and known or ''
end
return out
