-- Enters a worker's place into :at of a group's log, which is the mailbox of the address "#NAME", and
-- reads the cursor of a member. The member gets no cursor here: a cursor begins with the first ack,
-- so that a log does not gather a cursor for every member that ever came by.
--
-- KEYS box ids at cur
-- ARGV PLACE MEMBER; MEMBER "": no cursor is wanted
-- -> 1 or 0: the member has a cursor; the cursor or "", newest seq, newest lost seq
--: include piece_newest
--: include piece_lost
local cursor = ARGV[2] ~= '' and redis.call('HGET', KEYS[4], ARGV[2])
local lost = lost_of(KEYS[2])
redis.call('HSET', KEYS[3], ARGV[1], 1)
redis.call('EXPIRE', KEYS[3], 31536000)
return {cursor and 1 or 0, cursor or '', newest_of(KEYS[1], KEYS[2]), lost}
