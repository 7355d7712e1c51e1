/*
 * Live delivery: to the sessions that are connected now, without a mailbox.
 *
 * Signals always go this way; mail and posts only where no Redis is configured. A message goes to
 * each session of this worker by reference, and once to each other worker of this host that has any
 * of the recipients (worker/reach/reach.h). Workers of other hosts get signals alone.
 */
#ifndef WORKER_LIVE_H
#define WORKER_LIVE_H

#include "worker/envelope/envelope.h"
#include "worker/session/session.h"

/* Sends a signal to all its recipients. Recipients without a session are counted
 * (signals_unheard). The sender gets no answer. ERR_BAD with the reason in *fault: the signal went
 * to nobody. */
enum err live_send_signal(struct session *session, const struct envelope *envelope, struct msg *msg,
                          struct envelope_fault *fault);
/* Sends mail, a post or a receipt where nothing is stored. envelope->id is set. OK: the sender gets
 * `accepted` or `rejected`, now or later, in the order of its messages. ERR_BAD with the reason in
 * *fault: the message went to nobody. */
enum err live_send_mail(struct session *session, const struct envelope *envelope, struct msg *msg,
                        struct envelope_fault *fault);
/* A message from another worker, for addresses here; for bus_events. A recipient that no session
 * here takes it for is counted (deliveries_missed). */
void live_deliver(struct office *office, const struct slice *recipients, size_t recipient_count,
                  struct msg *msg);

#endif
