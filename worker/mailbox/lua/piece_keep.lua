-- Needs the local `base`. Sets when the keys of an address vanish: twice the age after the last
-- use, so that a device that comes back after the age still learns which messages are gone. :at has
-- no part in this: a session may be silent for long. :cur stays for KNOWN seconds when the address
-- must stay known; a group is always known.
local function keep(age)
  for _, name in ipairs({':box', ':ids', ':cur', ':th', ':rc', ':rq'}) do
    redis.call('EXPIRE', base .. name, 2 * age + 10000)
  end
  if KNOWN and not string.find(base, '{#', 1, true) then
    redis.call('EXPIRE', base .. ':cur', KNOWN)
  end
end
