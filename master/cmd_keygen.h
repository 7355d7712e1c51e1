/* `websocket-server keygen`: makes a key that tokens are signed with. */
#ifndef MASTER_CMD_KEYGEN_H
#define MASTER_CMD_KEYGEN_H

/* argv[0] is "keygen". Returns the exit status: 0 the key was made, 1 it was not, 2 wrong usage or
 * configuration. */
int cmd_keygen(int argc, char **argv);

#endif
