/*
 * `websocket-server status`: reads a running server's shared memory, without asking or disturbing
 * the server.
 */
#ifndef MASTER_STATUS_H
#define MASTER_STATUS_H

#include "common/buf.h"
#include "master/options.h"
#include "shm/region.h"

/* The subcommand. Returns the exit status. */
int status(const struct options *options);

/* status_report.c: appends the report, as text for a person, or as one line of JSON. */
void status_text(const struct region *region, struct buf *out);
void status_json(const struct region *region, struct buf *out);

#endif
