-- For the scripts that run inside Redis, assembled by scripts/embed_lua; scripts/lint runs luacheck.
std = "lua51"
max_line_length = 120
-- What Redis gives a script, and the limits that worker/mailbox/mailbox_scripts.c puts in front.
read_globals = {"redis", "KEYS", "ARGV", "cjson", "cmsgpack", "bit", "MAX", "REJECT", "AGE", "DEDUPE", "DEVICES", "BYTES", "KNOWN"}
