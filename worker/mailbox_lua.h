/* Lua that several scripts of the mailbox begin with; private to worker/mailbox*_scripts.c. */
#ifndef WORKER_MAILBOX_LUA_H
#define WORKER_MAILBOX_LUA_H

/* A position as bytes that sort as it does. */
#define LUA_RANK                                                                                   \
    "local function rank(seq)\n"                                                                   \
    "  local ms,n=string.match(seq,'^(%d+)-(%d+)$')\n"                                             \
    "  return string.char(96+#ms)..ms..string.char(96+#n)..n\n"                                    \
    "end\n"

#endif
