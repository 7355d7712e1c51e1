/*
 * Between workers of one host without Redis: the frames of the bus, through rings in shared memory.
 *
 * A frame that finds no room in its ring waits in this worker's memory, in order, and goes into the
 * ring when the reader has made room: the reader rings the writer then. The bytes that wait are
 * bounded, past the bound a frame is refused at once; so a worker that hangs costs the others no
 * more than that, and no wait. What waits for a worker is dropped when the worker has ended.
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

/* Sets how many bytes of messages may wait for room, in all; half of them for one worker. 0 (at the
 * start): none. Messages that wait already stay. */
void relay_set_wait_bytes(struct relay *relay, uint64_t bytes);
/* OK: the message is in the ring of the worker in `slot`, or waits for room there, and is lost only
 * with that worker, or with this one while the message waits. ERR_FULL: neither has room, or the
 * frame is larger than any record (RING_RECORD_MAX). ERR_DOWN: nobody lives in the
 * slot. */
enum err relay_publish(struct relay *relay, uint32_t slot, const struct slice *recipients,
                       size_t recipient_count, const struct msg *msg);
/* Does anything wait for room in the ring to this slot? What is sent another way would overtake. */
bool relay_waits(const struct relay *relay, uint32_t slot);
/* A kick for a full ring waits too, until the ring takes the kick or the incarnation has ended; the
 * bound of the messages does not apply. ERR_DOWN: the incarnation has ended. ERR_NOMEM: the kick
 * could not be kept (65,536 wait already, or memory is short), and is dropped. */
enum err relay_kick(struct relay *relay, uint32_t slot, uint64_t incarnation,
                    uint64_t session_number, uint16_t close_code);
/* Any other frame, as relay_publish; incarnation: of the reader. */
enum err relay_send(struct relay *relay, uint32_t slot, uint64_t incarnation,
                    const struct bus_frame *frame);
/* Is the frame of this message small enough for a ring? */
bool relay_can_carry(const struct slice *recipients, size_t recipient_count, const struct msg *msg);

/* Delivers what waits in the rings now, at most 8,192 records: for a caller that is about to
 * deliver a message that came another way and is younger. */
void relay_catch_up(struct relay *relay);
/* The end of a turn, before the sockets are flushed: delivers a bounded number of records, and
 * rings once at each worker whose ring was written to. */
void relay_flush(struct relay *relay);

#endif
