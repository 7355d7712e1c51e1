/*
 * The gate: accepts connections and takes them through the HTTP upgrade; a connection that passes
 * becomes a session.
 *
 * All workers share the listening sockets. So that connections spread evenly, a worker with clearly
 * more connections than the least loaded worker leaves the next connection to the others for a
 * moment. When none of them takes the connection (they may be stuck), the worker takes it after
 * all.
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
/* Begins to accept. Errors as loop_watch. */
enum err gate_open(struct gate *gate);
/* Stops accepting; upgrades under way are answered with 503. */
void gate_close(struct gate *gate);
/* Connections that are not sessions yet. */
uint32_t gate_pending(const struct gate *gate);
/* The end of a turn: frees connections that have gone. */
void gate_flush(struct gate *gate);
/* For the office's clock: runs the deadlines of pending connections. */
void gate_tick(struct gate *gate, uint64_t now_ms);

#endif
