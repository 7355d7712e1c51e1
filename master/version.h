/* `websocket-server version`. */
#ifndef MASTER_VERSION_H
#define MASTER_VERSION_H

void version_print(void);

#endif
