/*
 * The carrier brings a session its mail from its own mailbox: one kind of
 * reader (mailbox/reader.h). The carrier skips messages that are not for this session, and stores
 * acknowledgements.
 *
 * The rules stand in mailbox/feed.c, the keys in mailbox/. While Redis is asked, nothing points to
 * the session: a question names the session by its number, for the session may be gone when the
 * answer comes.
 */
#ifndef WORKER_CARRIER_H
#define WORKER_CARRIER_H

#include "worker/session/session.h"
#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/mailbox_read.h"

enum {
    ROOM_BYTES = 64 * 1024,  /* a page is asked for when less than this waits */
    LIVE_BYTES = 256 * 1024, /* past this a session is not fed live: it goes on from its mailbox */
};

/* How a session with a mailbox of its own is supplied. */
extern const struct session_supply carrier_supply;

/* An entry whose expiresAt has passed is not delivered; counted. */
bool carrier_has_expired(const struct office *office, const struct mailbox_entry *entry);

#endif
