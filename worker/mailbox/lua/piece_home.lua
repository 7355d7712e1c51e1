-- -> the hash tag "{ADDRESS}" of an address, escaped as mailbox_key (mailbox_keys.c) escapes it.
local function home(address)
  return '{' .. string.gsub(address, '[%c{}%%]', function(c)
    return string.format('%%%02X', string.byte(c))
  end) .. '}'
end
