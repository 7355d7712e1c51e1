/*
 * Between workers of one host without Redis: the bus's frames, through rings in shared memory.
 *
 * A record is there or it is not: what relay_publish answers is the whole truth, at once, and a
 * full ring is an answer and never a wait.
 */
#ifndef WORKER_RELAY_H
#define WORKER_RELAY_H

#include "shm/region.h"
#include "shm/stats.h"
#include "worker/reach/bus.h"
#include "worker/io/loop.h"

struct relay;

/* events: deliver and kick, as from the bus. NULL when out of memory or descriptors. */
struct relay *relay_new(struct loop *loop, struct region *region, struct stats_row *stats,
                        uint32_t slot, const struct bus_events *events);
void relay_free(struct relay *relay);

/* OK: the worker in `slot` will find it. ERR_FULL: the ring has no room, or the message with its
 * recipients is too large for one (RING_RECORD_MAX). ERR_DOWN: nobody lives there. */
enum err relay_publish(struct relay *relay, uint32_t slot, const struct slice *recipients,
                       size_t recipient_count, const struct msg *msg);
/* A kick that finds no room is kept, and tried again, until that worker has it or is gone. */
enum err relay_kick(struct relay *relay, uint32_t slot, uint64_t incarnation,
                    uint64_t session_number, uint16_t close_code);
/* Is it small enough for any ring? */
bool relay_can_carry(const struct slice *recipients, size_t recipient_count, const struct msg *msg);

/* Takes what waits now. For whoever hands on what came by another way: the older goes first. */
void relay_catch_up(struct relay *relay);
/* End of a turn, before the sockets are flushed: takes a bounded part of what has come, and rings
 * once for each worker that was written to. */
void relay_flush(struct relay *relay);

#endif
