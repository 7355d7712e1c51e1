/*
 * --daemon: the process that was called returns only when the server accepts connections, or with
 * the reason's exit status when it never will.
 */
#ifndef MASTER_DAEMON_H
#define MASTER_DAEMON_H

/* Returns in the background process, with a descriptor for daemon_tell; the process that was called
 * waits and exits. -1 with errno when the system refuses. */
int daemon_start(void);
/* Standard input, output and error lead nowhere from here on, so that whoever called us is not kept
 * waiting for the end of our output. Workers must not be forked before. */
void daemon_detach(void);
/* Ends the wait with this exit status, once; *fd is closed. fd -1: not a daemon. */
void daemon_tell(int *fd, int status);

#endif
