/*
 * How many connections each address of origin (IP) has, all workers together: each worker counts in
 * a column of its own, readers sum. IPv4 by address, IPv6 by /64 (a host has a whole /64),
 * v4-mapped as IPv4.
 */
#ifndef SHM_ORIGINS_H
#define SHM_ORIGINS_H

#include "shm/region.h"

struct sockaddr;

/* The keyed hash of the origin of a peer; 0 for an address family that has none (AF_UNIX). */
uint64_t origins_key(const struct region *region, const struct sockaddr *peer);
/* Counts one more connection in the worker's own column. ERR_FULL when the column has no room: the
 * connection is then not counted. */
enum err origins_add(struct region *region, uint32_t slot, uint64_t key);
void origins_remove(struct region *region, uint32_t slot, uint64_t key);
uint32_t origins_count(const struct region *region, uint64_t key);

#endif
