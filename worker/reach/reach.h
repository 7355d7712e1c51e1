/*
 * The way to another worker: through Redis, or through a ring of this host.
 *
 * Redis wherever it is configured and up on both sides. With no Redis configured everything goes
 * through rings; while a configured one is away, signals and kicks do. So the router need not know
 * which it was. Mail comes here only where nothing is stored; that which is stored has the bus's
 * own doorbell (bus_publish_stored).
 */
#ifndef WORKER_REACH_H
#define WORKER_REACH_H

#include "shm/slots.h"
#include "worker/reach/bus.h"
#include "worker/reach/relay.h"

struct reach;

/* bus is borrowed and must outlive it. events: as from the bus; up is not used. */
struct reach *reach_new(struct loop *loop, struct region *region, struct stats_row *stats,
                        uint32_t slot, struct bus *bus, const struct bus_events *events);
void reach_free(struct reach *reach);

/* How it stands with Redis here. */
enum worker_redis reach_redis(const struct reach *reach);
const char *reach_redis_text(enum worker_redis redis);
/* The `state` of `accepted`: with no Redis, what is accepted has been handed to a session (2). */
int reach_accepted_state(const struct reach *reach);
/* Can the signal go to these workers (bits)? False: to one of them only a ring leads now, and it is
 * too large for a ring. */
bool reach_can_carry(const struct reach *reach, uint64_t workers, const struct slice *recipients,
                     size_t recipient_count, const struct msg *msg);

/* To the worker in `slot`. heard (may be NULL) is called exactly once when OK is returned, for a
 * ring from inside this call. Other than OK: nothing was sent. */
enum err reach_publish(struct reach *reach, uint32_t slot, const struct slice *recipients,
                       size_t recipient_count, const struct msg *msg, bus_heard_cb heard,
                       void *arg);
enum err reach_kick(struct reach *reach, uint32_t slot, uint64_t incarnation,
                    uint64_t session_number, uint16_t close_code);
/* Before something is handed on that came through Redis: what was put into rings before Redis was
 * back goes first, so that a sender's messages stay in order. */
void reach_catch_up(struct reach *reach);
/* End of a turn, before the sockets are flushed: rings, then the bus. */
void reach_flush(struct reach *reach);

#endif
