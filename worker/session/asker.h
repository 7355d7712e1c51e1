/*
 * The session that waits for the answer to a command, while Redis is asked.
 *
 * An asker names the session by its number, never by a pointer: the session may have ended when the
 * answer comes. The command's id is copied, for `inReplyTo` of the answer.
 */
#ifndef WORKER_ASKER_H
#define WORKER_ASKER_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

struct asker {
    struct office *office;
    uint64_t number; /* the session's */
    uint8_t id_len;
    char id[ENVELOPE_ID_MAX];
};

/* id: the command's; data NULL: the command has none. At most ENVELOPE_ID_MAX bytes. */
struct asker asker_of(const struct session *session, struct slice id);
/* The session, or NULL when the session has ended or is closing. */
struct session *asker_session(const struct asker *asker);
/* The command's id, which lies in the asker; data NULL: the command has none. */
struct slice asker_id(const struct asker *asker);

#endif
