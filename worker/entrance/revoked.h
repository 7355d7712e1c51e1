/*
 * The revocations that a worker knows (worker/token/revocations.h): where the worker learns of
 * them, and the end of sessions whose token one of them revokes.
 *
 * A clerk tells each change in a frame (BUS_REVOKED), which counts at once. Changes in Redis have
 * versions; a version that is not the next shows that a frame was lost, and the worker reads on
 * from Redis. The worker also reads on when Redis is up again, and every few seconds. A worker that
 * starts while Redis is away asks the processes of its own host.
 *
 * The table stays as it is while Redis is away. When Redis has lost data, nothing is removed: the
 * clerk writes its table again.
 */
#ifndef WORKER_REVOKED_H
#define WORKER_REVOKED_H

#include "common/buf.h"
#include "worker/session/office.h"
#include "worker/token/revocations.h"

struct revoked;

/* is_clerk: notes are kept, and what Redis does not have is kept against Redis. known(arg): called
 * from a later turn, when the list has been read or another process has answered. Sets
 * office->revocations. NULL: no memory.
 */
struct revoked *revoked_new(struct office *office, bool is_clerk, void (*known)(void *arg),
                            void *arg);
void revoked_free(struct revoked *revoked); /* NULL is allowed */

/* The mailboxes are up (again); lost: Redis came back empty or older. */
void revoked_redis_up(struct revoked *revoked, bool lost);
/* Reads on from Redis: frames may have been missed. */
void revoked_refresh(struct revoked *revoked);
/* Call once a second. */
void revoked_beat(struct revoked *revoked);
/* For the end of a turn: looks at some sessions. */
void revoked_turn(struct revoked *revoked);

/* Has the list been read, from Redis or from another process of the host? */
bool revoked_is_known(const struct revoked *revoked);
/* Asks the processes of this host, one after the other; call again and again. True: one has
 * answered, or none will. */
bool revoked_ask_around(struct revoked *revoked);
/* The numbers of such questions have this bit. */
#define REVOKED_NUMBER (UINT64_C(1) << 63)
void revoked_told(struct revoked *revoked, uint64_t number, struct slice answer);
/* Answers the question of another process: the first line of the answer says how to go on. */
void revoked_answer(struct revoked *revoked, struct slice cursor, struct buf *out);

/* A clerk tells of changes. */
void revoked_heard(struct revoked *revoked, struct slice text);
/* The clerk itself makes a change: puts the entry (until 0: one that is taken back, which stays for
 * Redis to learn). Errors as of revocations_put. */
enum err revoked_change(struct revoked *revoked, const struct revocation_news *news);
/* Redis has given the clerk's change this version. */
void revoked_changed(struct revoked *revoked, uint64_t version);
/* Reads the changes behind this version once more. */
void revoked_read_again(struct revoked *revoked, uint64_t version);
/* The newest version that is known, also of a Redis that has lost data since. */
uint64_t revoked_version(const struct revoked *revoked);

#endif
