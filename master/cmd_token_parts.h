/*
 * The exit statuses and the two verbs that the files of `websocket-server token` share. Private to
 * cmd_token*.c.
 */
#ifndef MASTER_CMD_TOKEN_PARTS_H
#define MASTER_CMD_TOKEN_PARTS_H

enum { EXIT_GOOD, EXIT_REFUSED, EXIT_USAGE };

/* argv[0] is the verb. Both return an exit status, and say on standard error why when the status is
 * not EXIT_GOOD. token_init has been called. */
int cmd_token_issue(int argc, char **argv);
int cmd_token_verify(int argc, char **argv);

#endif
