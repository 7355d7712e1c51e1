/*
 * Signals to sessions on other hosts: where they are is asked of Redis, then one PUBLISH goes to
 * each worker there.
 *
 * Only while a worker of another host lives. Nothing is remembered from one signal to the next:
 * questions and publishes go through one connection, so a sender's signals stay in order, and what
 * is answered is never out of date.
 */
#ifndef WORKER_FAR_SIGNAL_H
#define WORKER_FAR_SIGNAL_H

#include "worker/session/office.h"

/* heard[i]: somebody on this host has it already, so that it is not counted as unheard. */
void far_signal(struct office *office, const struct slice *recipients, const bool *heard,
                size_t recipient_count, struct msg *msg);

#endif
