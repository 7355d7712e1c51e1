/* `websocket-server size`: what a number of users and their mail need of a machine and of Redis. */
#ifndef MASTER_CMD_SIZE_H
#define MASTER_CMD_SIZE_H

/* argv[0] is "size". Returns the exit status: 0 printed, 2 wrong usage. */
int cmd_size(int argc, char **argv);

#endif
