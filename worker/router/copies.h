/*
 * Copies: a sent mail in the sender's own mailbox, for the sender's other devices.
 */
#ifndef WORKER_COPIES_H
#define WORKER_COPIES_H

#include "worker/envelope/envelope.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_append.h"
#include "worker/session/session.h"

/* Do other devices of the session's address get a copy of this message? */
bool copies_wanted(struct session *session, const struct envelope *envelope);
/* Appends a copy to the session's own mailbox and rings for it when it is stored. letter: the mail
 * as its recipients get it; its msg gains a reference. The sender is not told of a copy that could
 * not be stored (counted: copies_failed). */
void copies_send(struct session *session, struct mailbox_letter letter);

#endif
