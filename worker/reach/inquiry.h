/*
 * Questions of a clerk to workers, of this host and of others, and the answers: a frame there and a
 * frame back. And what a clerk tells the workers about revocations.
 *
 * At most once: a question or an answer that is lost (a worker that has died, Redis away) is lost,
 * and whoever asked waits no longer than a time of its own.
 */
#ifndef WORKER_INQUIRY_H
#define WORKER_INQUIRY_H

#include "worker/reach/bus.h"
#include "worker/session/office.h"

/* Sends the question to the worker at this place. number: the asker's name for the question, which
 * comes back with the answer. ERR_DOWN: nobody lives there, or Redis is away; ERR_FULL; ERR_NOMEM;
 * ERR_BAD: longer than BUS_INQUIRY_BYTES_MAX. */
enum err inquiry_ask(struct office *office, struct slice place, uint64_t number,
                     struct slice question);
/* The same for the answer. */
enum err inquiry_tell(struct office *office, struct slice place, uint64_t number,
                      struct slice answer);

/* Tells the worker at this place that revocations have changed. */
enum err inquiry_revoked(struct office *office, struct slice place, struct slice text);

#endif
