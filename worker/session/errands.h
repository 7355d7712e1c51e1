/*
 * Errands: commands for whose answer Redis is asked (`history`, `recall`, `presence`, `subscribe`).
 *
 * The one idea: one errand of a session is under way, and begins only when little waits to be sent
 * to the session. The other errands wait, in the order of sending, within a bound in number and in
 * bytes. So a client that asks much, or that does not read, costs one answer, and delays itself
 * only.
 *
 * The answers that errands will bring count against limits.queueBytes before Redis is asked: past
 * that, nothing is read from the session.
 */
#ifndef WORKER_ERRANDS_H
#define WORKER_ERRANDS_H

#include "common/err.h"
#include "worker/session/asker.h"

#include <sys/queue.h>

/* The head of the owner's record; the first member of that record. */
struct errand {
    TAILQ_ENTRY(errand) link;
    struct asker asker;
    size_t bytes;          /* of memory, while the errand waits */
    uint32_t answer_bytes; /* that the answer is expected to have */
    /* The errand is under way: the owner asks Redis. errands_done must follow, now or later, also
     * when the session is gone by then. session is open. */
    void (*begin)(struct errand *errand, struct session *session);
    /* The session has ended before the errand began: frees the errand. */
    void (*drop)(struct errand *errand);
};

/* Begins the errand, or lets it wait. The errand may be gone after OK. ERR_FULL: too many wait;
 * ERR_NOMEM: after an error the errand is still the caller's. */
enum err errands_put(struct session *session, struct errand *errand);
/* errands_put for a command. ERR_BAD: the errand has been dropped, and the reason is in *fault. */
enum err errands_command(struct session *session, struct errand *errand,
                         struct envelope_fault *fault);
/* The errand of this asker that was under way is over, and its answer is queued. The next errand
 * begins. Call last: the session may be closing after. */
void errands_done(const struct asker *asker);
/* A command that waited, or whose question failed, is rejected. field NULL: none is at fault. */
void errands_reject(const struct asker *asker, enum reject_code code, const char *field,
                    const char *message);
/* There is room in the session's queue. */
void errands_on_room(struct session *session);
/* The session is closing: errands that wait are dropped. */
void errands_close(struct session *session);
/* The session is freed. */
void errands_free(struct session *session);

#endif
