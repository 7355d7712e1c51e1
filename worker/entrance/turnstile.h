/*
 * The turnstile: visitors whose sockets have brought something, in the order of coming. At the end
 * of a turn visitors take one step each: a PROXY header, a part of a TLS handshake, a request.
 *
 * The one idea: all visitors together have one share of each turn, measured in time, whatever their
 * steps cost (a signature of RSA, an exchange of keys, a token, a session). Past the share the rest
 * of the row waits for the next turn. A step is never cut. Dear steps have a row of their own, are
 * begun when they fit into the rest of the share or come first in a turn, and have a pause between
 * them: a session that talks may need two turns for a message (the question to Redis, the answer),
 * and a dear step delays one of them. So a storm of visitors delays a message by the share or by
 * one dear step, and by no more.
 *
 * The turnstile must not know the steps, nor the visitors.
 */
#ifndef WORKER_TURNSTILE_H
#define WORKER_TURNSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* In each visitor, zeroed. */
struct turnstile_place {
    TAILQ_ENTRY(turnstile_place) entry;
    bool waits;
    bool dear;   /* set before turnstile_enter: the step costs much of a share, or more */
    bool stayed; /* past the end of a turn */
};

TAILQ_HEAD(turnstile_row, turnstile_place);

struct turnstile {
    struct turnstile_row rows[2]; /* of cheap and of dear steps */
    uint32_t count;               /* places in both rows */
    bool dear;                    /* the last step was */
    uint64_t spent_ns;            /* in this turn, before the steps */
    uint64_t since_ns;            /* when the steps of this turn began; 0: not yet */
    uint64_t step_ns;             /* when the last step began */
    uint64_t dear_ns;             /* the usual time of a dear step */
    uint64_t pause_ns;            /* no dear step begins before */
};

void turnstile_init(struct turnstile *turnstile);
/* Puts the place behind all others of its row. Does nothing for a place that waits. */
void turnstile_enter(struct turnstile *turnstile, struct turnstile_place *place);
/* Takes the place out. Does nothing for a place that does not wait. */
void turnstile_leave(struct turnstile *turnstile, struct turnstile_place *place);
/* Is there nothing to do in this turn? Most turns have no visitors, and must not pay for the rows.
 */
static inline bool turnstile_rests(const struct turnstile *turnstile)
{
    return turnstile->count == 0 && turnstile->spent_ns == 0;
}
/* Takes out the place whose step is next, after the last step is over; NULL: no step fits into this
 * turn. */
struct turnstile_place *turnstile_next(struct turnstile *turnstile);
/* The end of the turn: calls `stays` for each place that waits on and has not waited on before; the
 * next turn has its whole share. */
void turnstile_settle(struct turnstile *turnstile, void (*stays)(struct turnstile_place *place));

/* May the worker accept one more connection in this turn? With long rows connections wait outside,
 * for this worker or for another. */
bool turnstile_admits(const struct turnstile *turnstile);
/* Charges the time that accepting has taken to the share. */
static inline void turnstile_spend(struct turnstile *turnstile, uint64_t ns)
{
    turnstile->spent_ns += ns;
}

#endif
