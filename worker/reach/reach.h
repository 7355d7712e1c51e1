/*
 * The way to another worker of this host: through Redis, or through a ring in shared memory.
 *
 * Signals and kicks go through Redis when Redis is up at both workers, else through a ring. With no
 * Redis configured everything goes through rings. The router need not know which way a message
 * took. Mail is sent here only with no Redis configured; mail that is stored has the bus's doorbell
 * (bus_publish_stored).
 */
#ifndef WORKER_REACH_H
#define WORKER_REACH_H

#include "shm/slots.h"
#include "worker/reach/bus.h"
#include "worker/reach/relay.h"

struct reach;

/* bus is borrowed and must outlive the reach. events: deliver and kick, as from the bus. NULL when
 * out of memory or descriptors. */
struct reach *reach_new(struct loop *loop, struct region *region, struct stats_row *stats,
                        uint32_t slot, struct bus *bus, const struct bus_events *events);
/* NULL is allowed. */
void reach_free(struct reach *reach);

/* The state of Redis as this worker sees it. */
enum worker_redis reach_redis(const struct reach *reach);
const char *reach_redis_text(enum worker_redis redis);
/* The `state` of `accepted`: 2 (delivered to a session) with no Redis configured, else 1 (stored).
 */
int reach_accepted_state(const struct reach *reach);
/* Can the signal go to all of these workers (bit w: slot w)? False: one of them can be reached only
 * by a ring now, and the signal is too large for a ring. */
bool reach_can_carry(const struct reach *reach, uint64_t workers, const struct slice *recipients,
                     size_t recipient_count, const struct msg *msg);

/* Sends msg to the worker in `slot`. When OK is returned, heard (may be NULL) is called exactly
 * once: for a ring from inside this call, else later. An error: nothing was sent. ERR_DOWN: nobody
 * lives in the slot, or mail has no Redis to go through. ERR_FULL: the ring has no room, and too
 * much waits for room already. */
enum err reach_publish(struct reach *reach, uint32_t slot, const struct slice *recipients,
                       size_t recipient_count, const struct msg *msg, bus_heard_cb heard,
                       void *arg);
/* Asks that worker to close one of its sessions. ERR_DOWN: the incarnation has ended, and the
 * session with it. ERR_NOMEM: the ring is full and the kick could not be kept either. */
enum err reach_kick(struct reach *reach, uint32_t slot, uint64_t incarnation,
                    uint64_t session_number, uint16_t close_code);
/* Any other frame, to a worker of this host by its ring. Errors as reach_publish. */
enum err reach_send(struct reach *reach, uint32_t slot, uint64_t incarnation,
                    const struct bus_frame *frame);
/* Sets how many bytes of messages may wait in this worker for room in the rings. */
void reach_set_wait_bytes(struct reach *reach, uint64_t bytes);
/* Delivers what waits in rings now. Call before a message that came through Redis is delivered: the
 * ring may hold older messages of the same sender, from the time when Redis was away. */
void reach_catch_up(struct reach *reach);
/* The end of a turn, before the sockets are flushed: delivers from rings, then writes to Redis. */
void reach_flush(struct reach *reach);

#endif
