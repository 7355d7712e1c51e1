-- Needs the local `base`. Sets when the keys of an address vanish: twice the age after the last
-- use, so that a device that comes back after the age still learns which messages are gone. :at has
-- no part in this: a session may be silent for long.
local function keep(age)
  for _, name in ipairs({':box', ':ids', ':cur', ':th', ':rc', ':rq'}) do
    redis.call('EXPIRE', base .. name, 2 * age + 10000)
  end
end
