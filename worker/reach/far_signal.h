/*
 * Signals to sessions on other hosts: Redis is asked where the recipients are, then one PUBLISH
 * goes to each worker that has any of them.
 *
 * Called only while a worker of another host lives. Nothing is remembered from one signal to the
 * next: questions and publishes go through one connection, so a sender's signals stay in order, and
 * no answer is ever out of date.
 */
#ifndef WORKER_FAR_SIGNAL_H
#define WORKER_FAR_SIGNAL_H

#include "worker/session/office.h"

/* Sends msg to the recipients' sessions on other hosts; recipients and heard are borrowed for the
 * call, msg is referenced. heard[i]: recipient i has the signal on this host already. Such a
 * recipient is not counted as unheard, and when its address is a service nobody else gets the
 * signal. A signal that cannot leave is counted in publishes_unheard, once a recipient. */
void far_signal(struct office *office, const struct slice *recipients, const bool *heard,
                size_t recipient_count, struct msg *msg);

#endif
