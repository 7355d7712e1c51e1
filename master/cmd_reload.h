/*
 * `websocket-server reload`: has the running server read its configuration again, and prints what
 * became of that: SIGHUP with an answer.
 */
#ifndef MASTER_CMD_RELOAD_H
#define MASTER_CMD_RELOAD_H

#include "master/options.h"

/* The subcommand. Returns the exit status. */
int cmd_reload(const struct options *options);

#endif
