/*
 * What has expired undelivered is taken out of the mailboxes, and receipts that a worker which died
 * owed are sent (docs/protocol.md, section 5).
 */
#ifndef WORKER_EXPIRY_H
#define WORKER_EXPIRY_H

#include "worker/session/office.h"

/* Once a second; every worker of every host does it, each thing is done by one. */
void expiry_tick(struct office *office);

#endif
