/*
 * --daemon: the process that the user started exits only when the server accepts connections, or
 * with a failure's exit status when the server never will.
 */
#ifndef MASTER_DAEMON_H
#define MASTER_DAEMON_H

/* Returns in the background process, with a descriptor for daemon_tell; the first process waits and
 * exits. -1 with errno when the system refuses. */
int daemon_start(void);
/* Opens /dev/null as standard input, output and error, so that a caller that reads the output until
 * its end does not wait for ever. Workers must not be forked before. */
void daemon_detach(void);
/* Ends the first process's wait with this exit status, closes *fd and sets it to -1. Does nothing
 * when *fd is -1: not a daemon, or told already. */
void daemon_tell(int *fd, int status);

#endif
