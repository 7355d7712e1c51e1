/*
 * The carrier brings a session its mail: it opens the mailbox, carries out what the feed decides,
 * reads pages, skips what is not for this session, and stores what the client acknowledges.
 *
 * It binds session, feed and mailbox; the rules are in feed.c, the keys in mailbox*.c. Nothing of a
 * session is pointed to while Redis is asked: it is named by its number, and may be gone when the
 * answer comes.
 */
#ifndef WORKER_CARRIER_H
#define WORKER_CARRIER_H

#include "worker/session/session.h"

enum {
    ROOM_BYTES = 64 * 1024,  /* a page is asked for when less than this waits */
    LIVE_BYTES = 256 * 1024, /* past this a session is not fed live: it goes on from its mailbox */
};

/* Where the client says it is (section 1: since, epoch); copied. */
struct carrier_since {
    bool given;
    struct seq seq;
    char epoch[40]; /* "" : not given */
};

/* epoch as the client gave it; data NULL: not. */
void carrier_since_epoch(struct carrier_since *since, struct slice epoch);

/* What the mailbox said, for `welcome`. */
struct carrier_standing {
    struct seq last, cursor;
    const char *epoch;
    bool recovered;
    const struct at_session *others; /* the address's other sessions; borrowed */
    size_t other_count;
};

/* Section 5: after `since` when it is given, else after the device's cursor, else from where the
 * mailbox said; and a gap is never silent. */
struct carrier_standing carrier_judge(const struct office *office,
                                      const struct carrier_since *since,
                                      const struct mailbox_opened *opened);
/* An entry whose expiresAt has passed is not delivered; counted. */
bool carrier_has_expired(const struct office *office, const struct mailbox_entry *entry);

/* Asks where the session stands; session_begin is called with it, perhaps from inside this call
 * (with NULL when there is no mailbox now: nothing is stored, or Redis is away). */
void carrier_open(struct session *session, const struct carrier_since *since);
/* After `welcome`: the replay. */
void carrier_start(struct session *session);
/* A message has been stored at seq in the mailbox of the session's address. */
void carrier_offer(struct session *session, struct seq seq, struct seq before,
                   struct slice skip_device, struct msg *msg);
/* `ack`: false when nothing that was sent to this session is meant. */
bool carrier_ack(struct session *session, struct seq seq);
/* What is asked of Redis for a session carries this; the session, or NULL when it has gone. */
void *carrier_name(const struct session *session);
struct session *carrier_session(void *name);
struct office *carrier_office(void);
/* The session ends. */
void carrier_close(struct session *session);

/* For the host's conn_calls. */
void carrier_on_stored_left(struct conn *conn, struct outbox_position position);
void carrier_on_room(struct conn *conn);

/* The mailboxes are up (again); lost: Redis came back empty or older. From now on every session is
 * brought up to its mailbox's end by carrier_catch_up_some. */
void carrier_mailbox_up(struct office *office, struct slice epoch, bool lost);
/* Doorbells may have been missed: the same begins. */
void carrier_look_again(struct office *office);
/* Doorbells may have been missed, but nobody who looked for a session here has been misled:
 * sessions only read on. A tenth of the cost, for what a failure elsewhere makes all workers do. */
void carrier_read_on(struct office *office);
/* At most `count` sessions, once a turn; false when all have been. */
bool carrier_catch_up_some(struct office *office, unsigned count);

#endif
