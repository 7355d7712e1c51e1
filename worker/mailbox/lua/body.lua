-- Stores a body that several mailboxes share. The body lives as long as the keys of a mailbox: an
-- entry that names the body vanishes earlier, so nothing counts the entries.
--
-- KEYS body
-- ARGV BODY
-- -> OK
return redis.call('SET', KEYS[1], ARGV[1], 'EX', 2 * AGE + 10000)
