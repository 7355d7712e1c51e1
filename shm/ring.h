/*
 * Rings: one-way byte queues between the workers of one host, in shared memory; one for each
 * ordered pair of slots. Exactly one process writes and one reads, so a crash leaves no lock: a
 * writer that dies mid-record has not yet moved `head`, and the reader never sees the torn bytes.
 * Full is an answer, never a wait.
 *
 * An eventfd a slot is the doorbell; made with the region, inherited by every worker.
 */
#ifndef SHM_RING_H
#define SHM_RING_H

#include "common/err.h"
#include "common/slice.h"
#include "shm/region.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RING_BYTES = 256 * 1024,      /* the smallest ring */
    RING_BYTES_MAX = 1024 * 1024, /* the largest; which one a region has: ring_size */
    RING_RECORD_MAX = RING_BYTES / 4,
};

/* Returns the bytes of each ring of a host with so many sessions, a power of two: 16 for each
 * session, from RING_BYTES to RING_BYTES_MAX. */
static inline size_t ring_size(uint32_t sessions_max)
{
    size_t size = RING_BYTES;

    while (size < RING_BYTES_MAX && size < (size_t)sessions_max * 16)
        size *= 2;
    return size;
}

/* In the writer (slot `from`): puts a record for the worker of this incarnation and no successor.
 * OK; ERR_FULL: no room now; ERR_BAD: longer than RING_RECORD_MAX; ERR_DOWN: that worker has died.
 * The caller rings by ring_ring once for all records of a turn, and also after ERR_FULL: a damaged
 * ring looks full until its reader has mended it. */
enum err ring_put(struct region *region, uint32_t from, uint32_t to, uint64_t incarnation,
                  struct slice record);
void ring_ring(struct region *region, uint32_t to);
/* In the writer: says whether records for `to` wait for room. A writer that has said so tries once
 * more, because the reader may have made room before the word was written; from then on the reader
 * rings the writer when the reader has made room. */
void ring_want_room(struct region *region, uint32_t from, uint32_t to, bool wanted);
/* In the reader, after ring_drop: does the writer wait for room? Then ring_ring(region, from). */
bool ring_room_wanted(const struct region *region, uint32_t from, uint32_t to);
/* In the reader (slot `to`): returns the next record from `from` for the reader's own incarnation;
 * false when there is none. The bytes stay until ring_drop, unless the writer scribbles: copy the
 * bytes before judging them. A damaged ring is emptied and false is returned. */
bool ring_peek(struct region *region, uint32_t from, uint32_t to, struct slice *record);
void ring_drop(struct region *region, uint32_t from, uint32_t to);
/* Returns the slot's doorbell (a non-blocking eventfd, owned by the region). Read the doorbell
 * before the rings, or a record put in between waits. */
int ring_doorbell(const struct region *region, uint32_t slot);
/* Returns a word in which bit w is set when the ring from slot w to slot `to` holds something. */
uint64_t rings_waiting(const struct region *region, uint32_t to);
/* Anyone: the bytes that wait in the fullest ring that the slot writes. */
size_t ring_fill(const struct region *region, uint32_t from);
/* Master, in slot_end: empties all rings to the slot. Whole records of the dead worker in rings to
 * others stay, and the master rings for them: the worker may have died before it rang. Writers that
 * wait for room in a ring to the slot are rung too. */
void rings_purge(struct region *region, uint32_t slot);

#endif
