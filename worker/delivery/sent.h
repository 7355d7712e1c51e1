/*
 * The log of sent messages, for `recall`: one log in Redis for each sender.
 *
 * The messages that one session sends in one turn of the loop become one entry, so that a fast
 * sender does not pay a command a message. An entry holds a record a message: the id, then the
 * recipients, a line each, then an empty line. A message is noted when it is stored, before it is
 * known whether the message will be accepted.
 */
#ifndef WORKER_SENT_H
#define WORKER_SENT_H

#include "worker/session/session.h"

/* Notes a message. Without memory, or past the bounds of one turn, the message can not be recalled
 * later: counted in sent_unnoted. */
void sent_note(struct session *session, struct slice from, struct slice id,
               const struct slice *recipients, size_t recipient_count);
/* Hands the turn's entries to the mailbox: at the end of the turn, before mailbox_flush; and before
 * the log is read. */
void sent_flush(struct office *office);
/* Frees office->sent; entries that were not flushed are lost. */
void sent_free(struct office *office);

#endif
