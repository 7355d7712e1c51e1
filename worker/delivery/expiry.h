/*
 * Expiry: messages that have expired undelivered are removed from the mailboxes, and receipts that
 * a dead worker owed are sent (docs/protocol.md, section 5.10).
 */
#ifndef WORKER_EXPIRY_H
#define WORKER_EXPIRY_H

#include "worker/session/office.h"

/* Once a second, on every worker of every host; Redis gives each message and each receipt to one of
 * them. */
void expiry_tick(struct office *office);

#endif
