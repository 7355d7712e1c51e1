/*
 * The texts of the scripts that run inside Redis. Their sources are the files of
 * worker/mailbox/lua/ (README.md there); scripts/embed_lua makes the arrays at build time, into
 * build/lua/mailbox_lua.c. mailbox_scripts.c adds what each worker and each configuration needs.
 */
#ifndef WORKER_MAILBOX_LUA_H
#define WORKER_MAILBOX_LUA_H

extern const char mailbox_lua_ack[];
extern const char mailbox_lua_ack_asked[];
extern const char mailbox_lua_append[];
extern const char mailbox_lua_append_many[];
extern const char mailbox_lua_append_noted[];
extern const char mailbox_lua_append_read[];
extern const char mailbox_lua_due[];
extern const char mailbox_lua_find_sent[];
extern const char mailbox_lua_forget[];
extern const char mailbox_lua_join[];
extern const char mailbox_lua_lease[];
extern const char mailbox_lua_newest[];
extern const char mailbox_lua_open[];
extern const char mailbox_lua_page[];
extern const char mailbox_lua_recall[];
extern const char mailbox_lua_revoke[];
extern const char mailbox_lua_revoked[];
extern const char mailbox_lua_service[];
extern const char mailbox_lua_spend[];
extern const char mailbox_lua_look[];
extern const char mailbox_lua_purge[];
extern const char mailbox_lua_trace[];
extern const char mailbox_lua_thread[];
extern const char mailbox_lua_tick[];

#endif
