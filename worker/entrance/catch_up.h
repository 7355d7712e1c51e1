/*
 * Catching up: Redis was away, or doorbells may have been missed. Each session's mailbox is opened
 * again (or read on), a bounded number of sessions a turn.
 */
#ifndef WORKER_CATCH_UP_H
#define WORKER_CATCH_UP_H

#include "worker/session/session.h"

/* The mailboxes are up (again). lost: Redis came back empty or older; every session is told by a
 * second `welcome`. */
void catch_up_mailbox_up(struct office *office, struct slice epoch, bool lost);
/* Doorbells may have been missed, and other workers may have missed sessions of this one: each
 * session is entered into `:at` again and its mailbox opened again. */
void catch_up_all(struct office *office);
/* Doorbells may have been missed, and nothing else: sessions only read on. That is a tenth of the
 * cost, for a failure elsewhere that makes all workers catch up. */
void catch_up_lightly(struct office *office);
/* Once a turn: at most `count` sessions. Returns false when none is left, or none can go on now. */
bool catch_up_some(struct office *office, unsigned count);

#endif
