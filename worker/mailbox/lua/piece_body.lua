-- A body that several mailboxes share stands once, in PREFIXbody:NAME; field b of each entry is
-- "@NAME" (mailbox_body.h). On a Redis Cluster that key would lie in another slot than the box, and
-- the script could not read the key.

-- -> the entry of `mailbox` with its body, and whether the body is there. When the shared body is gone,
-- b stays "@NAME": a body begins with "{".
local function whole(mailbox, entry)
  local fields, there = entry[2], true
  if fields[5] == 'b' and string.byte(fields[6]) == 64 then
    local body = redis.pcall('GET', string.match(mailbox, '^[^{]*') .. 'body:' .. string.sub(fields[6], 2))
    there = type(body) == 'string' and string.byte(body) == 123
    fields[6] = there and body or fields[6]
  end
  return entry, there
end
