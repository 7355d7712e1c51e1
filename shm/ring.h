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

enum { RING_BYTES = 256 * 1024, RING_RECORD_MAX = RING_BYTES / 4 };

/* In the writer (slot `from`). ERR_FULL: no room now; ERR_BAD: longer than RING_RECORD_MAX;
 * ERR_DOWN: no live worker in `to`. The doorbell is rung by ring_ring, once for all records of a
 * turn. */
enum err ring_put(struct region *region, uint32_t from, uint32_t to, struct slice record);
void ring_ring(struct region *region, uint32_t to);
/* In the reader (slot `to`): the next record from `from`; false when there is none. The bytes stay
 * until ring_drop. A damaged ring (the writer scribbled) is emptied and false is returned. */
bool ring_peek(struct region *region, uint32_t from, uint32_t to, struct slice *record);
void ring_drop(struct region *region, uint32_t from, uint32_t to);
/* The slot's doorbell (an eventfd, non-blocking); read it before the rings are looked at. */
int ring_doorbell(const struct region *region, uint32_t slot);
/* Master, in slot_end: empties all rings from and to the slot. */
void rings_purge(struct region *region, uint32_t slot);

#endif
