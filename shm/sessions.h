/*
 * The session table: address -> where its sessions are on this node.
 *
 * Each worker writes only its own slab, so there is no lock to be left held by a crash; a map word
 * tells with one load which workers may have a session of an address; a version in each bucket head
 * tells a reader that the chain it walked has changed (design and proof: shm/README.md). A reader's
 * answer is a hint: the owner checks again on delivery.
 */
#ifndef SHM_SESSIONS_H
#define SHM_SESSIONS_H

#include "common/slice.h"
#include "shm/region.h"

enum { DEVICE_BYTES_MAX = 64 };

/* The keyed 128-bit hash of an address. */
struct address_key {
    uint64_t lo, hi;
};
struct address_key sessions_key(const struct region *region, struct slice address);

struct sessions_writer; /* the private side of a worker: free list, counts per map word */

/* In the worker, once after the fork. NULL when out of memory. */
struct sessions_writer *sessions_writer_new(struct region *region, uint32_t slot);
void sessions_writer_free(struct sessions_writer *writer);

/* Publishes a session: number is the owner's name for the session (unique within the incarnation),
 * device has at most DEVICE_BYTES_MAX bytes, since_ns is CLOCK_MONOTONIC at the session's start.
 * Returns the index of the row for sessions_remove, or UINT32_MAX when the slab is full. */
uint32_t sessions_add(struct sessions_writer *writer, struct address_key key, uint64_t number,
                      struct slice device, uint64_t since_ns);
void sessions_remove(struct sessions_writer *writer, uint32_t index);
/* Changes the time of a published session, in one store: a reader finds the session once, with the
 * old time or with the new one. */
void sessions_set_since(struct sessions_writer *writer, uint32_t index, uint64_t since_ns);
/* Publishes the one row of a group that has subscribers on this worker; readers find the row as
 * that of a session. Groups have rows of their own, so that sessions and groups cannot take each
 * other's room. Returns the index, or UINT32_MAX when all rows are taken. */
uint32_t sessions_add_group(struct sessions_writer *writer, struct address_key key);
void sessions_remove_group(struct sessions_writer *writer, uint32_t index);
/* Returns how many groups have a row here, and how many could have one. */
uint32_t sessions_group_count(const struct sessions_writer *writer);
uint32_t sessions_groups_max(const struct region *region);

/* Returns a word in which bit w is set when worker slot w has a session of this address now.
 * Lock-free, bounded. */
uint64_t sessions_workers(const struct region *region, struct address_key key);

struct session_row {
    uint32_t slot;
    uint64_t incarnation, number, since_ns;
    uint8_t device_len;
    char device[DEVICE_BYTES_MAX];
};
/* Finds every session of the address. Returns how many there are, with copies of the first max of
 * them in rows. */
size_t sessions_find(const struct region *region, struct address_key key, struct session_row *rows,
                     size_t max);

#endif
