/*
 * The gate: accepts connections and takes them through the HTTP upgrade; a connection that passes
 * becomes a session.
 *
 * All workers share the listening sockets. So that connections spread evenly, a worker with clearly
 * more connections than the least loaded worker leaves the next connection to the others for a
 * moment. When none of them takes the connection (they may be stuck), the worker takes it after
 * all.
 *
 * While no worker serves, workers that start or drain accept too, so that a load balancer gets an
 * answer (healthPath: 503) instead of silence. A starting worker keeps requests until it serves; a
 * draining one refuses them.
 */
#ifndef WORKER_GATE_H
#define WORKER_GATE_H

#include "worker/session/office.h"

struct gate;

/* The descriptors are borrowed; the first plain_count are plain, the others speak TLS. NULL when
 * out of memory. Does not accept yet. */
struct gate *gate_new(struct office *office, const int *listen_fds, uint32_t listen_count,
                      uint32_t plain_count);
/* Closes what is pending. NULL is allowed. */
void gate_free(struct gate *gate);
/* Begins to accept before the worker serves, while no other does. Errors as loop_watch. */
enum err gate_open_early(struct gate *gate);
/* Begins to accept, and judges the requests that have waited. Errors as loop_watch. */
enum err gate_open(struct gate *gate);
/* Draining: upgrades under way are answered with 503. The whole server drains: connections are
 * still accepted while no worker serves, and answered so, too. Else they wait for the next worker.
 */
void gate_close(struct gate *gate, bool whole_server);
/* Connections that are not sessions yet, without those that came after gate_close. */
uint32_t gate_pending(const struct gate *gate);
/* The end of a turn: frees connections that have gone. */
void gate_flush(struct gate *gate);
/* For the office's clock: runs the deadlines of pending connections. */
void gate_tick(struct gate *gate, uint64_t now_ms);

#endif
