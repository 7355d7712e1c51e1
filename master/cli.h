/* The command line: finds the subcommand, and does the small ones itself. */
#ifndef MASTER_CLI_H
#define MASTER_CLI_H

/* Returns the exit status: 0 done, 1 failed at run time, 2 usage or configuration, 3 not running.
 */
int cli_run(int argc, char **argv);

#endif
