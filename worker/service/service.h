/*
 * Service addresses (docs/protocol.md, section 5): several sessions share one mailbox, and each
 * message goes to exactly one of them.
 *
 * The one idea: Redis knows who has what (mailbox_script_service.c), and a session is given only
 * what its own worker took there. Whoever changes something (a message was stored, acknowledged, a
 * session came or went) asks for the work to be shared out; what falls to sessions of other workers
 * stays in Redis, and those workers are told by a doorbell without a message in it. So a message
 * takes one way, in order, and a doorbell that is not heard costs a moment.
 *
 * A worker has at most one question an address on its way; what happens meanwhile goes into the
 * next.
 */
#ifndef WORKER_SERVICE_H
#define WORKER_SERVICE_H

#include "worker/session/service_turn.h"
#include "worker/session/session.h"

struct service; /* a worker's part in all of them */

/* NULL when out of memory. */
struct service *service_new(struct office *office);
/* After everything that it waits for has been told. NULL is allowed. */
void service_free(struct service *service);

/* ---- a session of such an address (session->seat) ---- */

/* It is listed, and its address is one. ERR_NOMEM. */
enum err service_sit(struct session *session);
/* It can no longer be sent to: what it has goes to others. */
void service_leave(struct session *session);
/* ---- news ---- */

/* Something was stored there, or another worker says that there is something to take. */
void service_news(struct office *office, struct slice address);
/* Once a second: those that died are noticed, and what went wrong is tried again. */
void service_beat(struct office *office);
/* The end of a turn, before mailbox_flush. */
void service_flush(struct office *office);
/* Something is to be said at the end of the next turn. */
bool service_waits(const struct office *office);
/* Nothing waits to be said to a Redis that is there. */
bool service_settled(const struct office *office);

#endif
