/*
 * The gate: accepts connections and takes them through the HTTP upgrade; who passes becomes a
 * session.
 *
 * All workers share one listening socket. So that connections spread evenly, a worker that has
 * clearly more than the least loaded one leaves the next to the others for a moment; when none of
 * them comes for it (they may be stuck), it takes it after all.
 */
#ifndef WORKER_GATE_H
#define WORKER_GATE_H

#include "worker/session/office.h"

struct gate;

/* listen_fd is borrowed. NULL when out of memory. Does not accept yet. */
struct gate *gate_new(struct office *office, int listen_fd);
void gate_free(struct gate *gate);
enum err gate_open(struct gate *gate);
/* Stops accepting; upgrades under way are answered with 503. */
void gate_close(struct gate *gate);
/* Connections that are not sessions yet. */
uint32_t gate_pending(const struct gate *gate);
/* The end of a turn: frees what has gone. A loop hook. */
void gate_flush(struct gate *gate);
/* For the office's clock: runs the deadlines of pending connections. */
void gate_tick(struct gate *gate, uint64_t now_ms);

#endif
