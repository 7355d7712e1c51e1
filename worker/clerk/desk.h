/*
 * A desk: a session of the clerk's own, through which a request sends messages and commands as any
 * client does. What the router answers comes back as text.
 *
 * The session is an ordinary one (worker/entrance/life.h, life_open_desk) whose connection is one
 * end of a socket pair; the desk reads the other end. So the router, tickets and errands need to
 * know nothing of HTTP.
 */
#ifndef WORKER_CLERK_DESK_H
#define WORKER_CLERK_DESK_H

#include "common/slice.h"
#include "worker/session/office.h"
#include "worker/token/token.h"

#include <stdbool.h>

struct desk;

struct desk_calls {
    /* A message to the desk: what the router answers, JSON. The text lasts for the call. */
    void (*said)(void *arg, struct slice text);
    /* The session has ended by itself (out of memory, too many errors): no answer follows. */
    void (*ended)(void *arg);
};

/* Returns a desk, owned by the caller; NULL: no memory or no descriptors. calls: static. is_free:
 * no rate and no budget holds. */
struct desk *desk_open(struct office *office, struct grant *grant, bool is_free,
                       const struct desk_calls *calls, void *arg);
/* Not within the desk's own calls. NULL is allowed. */
void desk_close(struct desk *desk);
/* Gives the router a message: `said` follows, in a later turn. *answered: the router has answered
 * already (a rejection). False: the session has ended. */
bool desk_send(struct desk *desk, struct slice envelope, bool *answered);
/* Is there room for another message? A session that sends faster than Redis stores must wait. */
bool desk_may_send(const struct desk *desk);

#endif
