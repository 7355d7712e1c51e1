/*
 * The number of connections of each IP address, all workers together. Each worker counts in a
 * column of its own; readers sum. IPv4 counts by address, IPv6 by /64 (a host has a whole /64),
 * v4-mapped addresses as IPv4.
 */
#ifndef SHM_ORIGINS_H
#define SHM_ORIGINS_H

#include "common/ip.h"
#include "shm/region.h"

/* Returns the keyed hash of the peer's IP address; 0 for a peer without one (a unix socket), which
 * is not counted. */
uint64_t origins_key(const struct region *region, const struct ip *peer);
/* Counts one more connection in the worker's own column. ERR_FULL when the column has no room: then
 * the connection is not counted, and origins_remove must not be called for it. */
enum err origins_add(struct region *region, uint32_t slot, uint64_t key);
void origins_remove(struct region *region, uint32_t slot, uint64_t key);
uint32_t origins_count(const struct region *region, uint64_t key);

#endif
