/*
 * Who sent what to whom, for `recall`: a log for each sender in Redis.
 *
 * What one session sends in one turn of the loop goes there as one entry, so that a fast sender
 * does not pay a command a message. An entry holds records: the id, then the recipients, a line
 * each, then an empty line. Noted when a message is taken, whether it will be accepted or not.
 */
#ifndef WORKER_SENT_H
#define WORKER_SENT_H

#include "worker/session/session.h"

void sent_note(struct session *session, struct slice from, struct slice id,
               const struct slice *recipients, size_t recipient_count);
/* The end of the turn, before mailbox_flush; and before the log is looked at. */
void sent_flush(struct office *office);
void sent_free(struct office *office);

#endif
