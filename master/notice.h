/*
 * What `status` and `reload` are told about the server and its reloads: fills server->about and
 * publishes that in the shared memory.
 */
#ifndef MASTER_NOTICE_H
#define MASTER_NOTICE_H

#include "master/server.h"

void notice_start(struct server *server);
/* Before the file is read. */
void notice_reload_begins(struct server *server);
/* Exactly one of the two ends a reload. why: lines for a person; the lists: keys with commas
 * between. */
void notice_reload_refused(struct server *server, const char *why);
void notice_reload_applied(struct server *server, const char *applied, const char *swapped,
                           const char *waiting);

#endif
