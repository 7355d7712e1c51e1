/*
 * Permission: may this message be sent? (docs/protocol.md, sections 3 and 6)
 *
 * Pure: the answer follows from the tokens, the session's address and the envelope. A function
 * returns OK, or ERR_BAD with the reason in *fault. Nothing here knows a session or sends anything.
 */
#ifndef WORKER_PERMISSION_H
#define WORKER_PERMISSION_H

#include "worker/envelope/envelope.h"
#include "worker/token/token.h"

/* The session that a message came from, as far as permission needs it. */
struct permission_session {
    struct slice address;
    const struct grant *grant;   /* of the session's token */
    const struct config *config; /* has the keys for a message's own token */
    int64_t now_s;               /* Unix seconds: a message's own token may have expired */
    struct token_memory *tokens; /* good ones, remembered; NULL: none are */
    bool *remembered;            /* set to true when the message's own token was; NULL: not told */
};

/* May the session send a message with this `from`? When the message's own token permits it, *own is
 * that token's grant, one reference, the caller's; otherwise NULL, also on ERR_BAD. The rights of
 * *own, if there is one, replace the session's for this message. */
enum err permission_check_from(const struct permission_session *session,
                               const struct envelope *envelope, struct grant **own,
                               struct envelope_fault *fault);
/* May a message with this grant go to each of its recipients, and, if it is a receipt, does it have
 * what a client's receipt needs? A command needs no such permission and must not come here. */
enum err permission_check_message(const struct grant *grant, const struct envelope *envelope,
                                  struct envelope_fault *fault);

#endif
