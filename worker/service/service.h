/*
 * Service addresses (docs/protocol.md, section 5.14): several sessions share one mailbox, and each
 * message goes to exactly one of them.
 *
 * The one idea: Redis knows which session has which message (mailbox/lua/service.lua), and a
 * session is given only messages that its own worker took there. A worker on which something
 * changes (a message was stored or acknowledged, a session came or went) asks Redis to share out
 * the work. Messages for sessions of other workers stay in Redis, and those workers are rung. So a
 * message takes one way, in order, and a doorbell that is not heard costs a moment.
 *
 * A worker has at most one question an address on its way; changes meanwhile go into the next one.
 */
#ifndef WORKER_SERVICE_H
#define WORKER_SERVICE_H

#include "worker/session/service_turn.h"
#include "worker/session/session.h"

struct service; /* a worker's part in all service addresses */

/* NULL when out of memory. */
struct service *service_new(struct office *office);
/* To be called after mailbox_free, which answers every question. NULL is allowed. */
void service_free(struct service *service);

/* ---- sessions ---- */

/* The session is listed, and its address is a service address: from here on session->seat is its
 * part in the work, and session->supply gives it messages. ERR_NOMEM. */
enum err service_sit(struct session *session);
/* The session is closing: the messages that it has not acknowledged go to other sessions. Does
 * nothing for a session without a seat. */
void service_leave(struct session *session);

/* ---- the worker ---- */

/* A message was stored in this address's mailbox, or another worker rang: Redis has work to share
 * out. */
void service_news(struct office *office, struct slice address);
/* Once a second: deaths of other workers are noticed, and failed questions are asked again. */
void service_beat(struct office *office);
/* The end of a turn, before mailbox_flush: the turn's questions are asked. */
void service_flush(struct office *office);
/* Does a question wait for the end of the next turn? */
bool service_waits(const struct office *office);
/* Has Redis answered all questions? True also while Redis is away: nobody waits for it then. */
bool service_settled(const struct office *office);

#endif
