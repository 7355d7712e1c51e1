/*
 * Between workers of one host without Redis: the frames of the bus, through rings in shared memory.
 *
 * A record is in the ring or is not: the result of relay_publish is final, and a full ring refuses
 * at once, so a worker that hangs costs the others nothing.
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
/* NULL is allowed. */
void relay_free(struct relay *relay);

/* OK: the worker in `slot` will take the message out of the ring. ERR_FULL: the ring has no room,
 * or the frame is larger than any record (RING_RECORD_MAX). ERR_DOWN: nobody lives in the slot. */
enum err relay_publish(struct relay *relay, uint32_t slot, const struct slice *recipients,
                       size_t recipient_count, const struct msg *msg);
/* A kick for a full ring is kept and tried again each turn, until the ring takes the kick or the
 * incarnation has ended. ERR_DOWN: the incarnation has ended. ERR_NOMEM: the kick could not be kept
 * (65,536 wait already, or memory is short), and is dropped. */
enum err relay_kick(struct relay *relay, uint32_t slot, uint64_t incarnation,
                    uint64_t session_number, uint16_t close_code);
/* Is the frame of this message small enough for a ring? */
bool relay_can_carry(const struct slice *recipients, size_t recipient_count, const struct msg *msg);

/* Delivers what waits in the rings now, at most 8,192 records: for a caller that is about to
 * deliver a message that came another way and is younger. */
void relay_catch_up(struct relay *relay);
/* The end of a turn, before the sockets are flushed: delivers a bounded number of records, and
 * rings once at each worker whose ring was written to. */
void relay_flush(struct relay *relay);

#endif
