-- Needs the locals `prefix` and `home`. The key PREFIXowed: lua/README.md.
--: include piece_find
local now = tonumber(redis.call('TIME')[1])

-- Adds a receipt to PREFIXowed and to the answer `out`, unless the recipient's mailbox holds the
-- receipt already. The receipt's id is made from the message, so a second attempt finds the first. The
-- worker that ran the script has 5 seconds to send the receipt.
local function owe(out, state, to, from, id, seq, level)
  local receipt_id = 'receipt-' .. state .. '.' .. redis.sha1hex(table.concat({from, to, id, seq}, '\0'))
  local is_good, there = pcall(find, prefix .. home(to) .. ':ids', receipt_id, from)
  if is_good and there then
    return
  end
  local line = table.concat({state, to, from, id, receipt_id, now, level or 0}, '\n')
  redis.call('ZADD', prefix .. 'owed', now + 5, line)
  out[#out + 1] = line
  out[#out + 1] = ''
end
redis.call('ZCARD', prefix .. 'owed') -- checks the type before the first write
