/* `check-config` and `explain-config`: they read their own command line. */
#ifndef MASTER_CMD_CONFIG_H
#define MASTER_CMD_CONFIG_H

/* argv[0] is the subcommand's name. Returns the exit status. */
int cmd_check_config(int argc, char **argv);
int cmd_explain_config(int argc, char **argv);

#endif
