/* `websocket-server token issue` and `token verify`. */
#ifndef MASTER_CMD_TOKEN_H
#define MASTER_CMD_TOKEN_H

/* argv[0] is "token". Returns the exit status: 0 issued or good, 1 refused or no key, 2 wrong usage
 * or configuration. */
int cmd_token(int argc, char **argv);

#endif
