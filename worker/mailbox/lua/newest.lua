-- KEYS box
-- -> the newest seq that the box ever gave; "": there is no box.
--: include piece_newest
local newest = newest_of(KEYS[1], string.sub(KEYS[1], 1, -5) .. ':ids')
return newest ~= '0-0' and newest or ''
