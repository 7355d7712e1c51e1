/*
 * The one shared mapping: made by the master before it forks, sized from the config, never resized.
 *
 * The mapping is a memfd, so it has no name in any file system and is gone with the last process;
 * `status` maps the same memory through /proc/PID/fd. The memory holds no pointers, only offsets
 * and indexes. See shm/README.md.
 */
#ifndef SHM_REGION_H
#define SHM_REGION_H

#include "common/err.h"
#include "common/workers.h"

#include <stdint.h>
#include <stddef.h>

struct region; /* this process's view: base address, size, descriptor */

/* Makes a region for at most sessions_max sessions on all workers together, owned by the caller
 * (region_close). NULL when memory or a limit does not suffice, with the reason (how much is
 * needed, how much there is) in why. */
struct region *region_create(uint32_t sessions_max, char *why, size_t why_size);
/* Maps the region of a running server, read-only, from a descriptor. NULL with a reason: not a
 * region, another version. On success the region owns fd. */
struct region *region_attach(int fd, char *why, size_t why_size);
/* Unmaps the region and closes its descriptors. NULL is allowed. */
void region_close(struct region *region);
/* In a worker after the fork: makes read-only everything that other workers and the master write,
 * and closes the descriptor, so that nothing in this process can lift the wall again (mprotect is
 * refused for a mapping of a descriptor that was opened for reading). Without /proc mprotect alone
 * makes the wall. ERR_SYSTEM with errno. */
enum err region_protect(struct region *region, uint32_t slot);
/* Master only: mends words of the master's part that another process has overwritten, and returns
 * how many have been mended since the last call. */
uint64_t region_take_mended(struct region *region);
/* Returns a descriptor that only reads, owned by the caller; -1 with errno. */
int region_open_read_only(const struct region *region);
int region_fd(const struct region *region);
size_t region_size(const struct region *region);
uint32_t region_sessions_max(const struct region *region);
/* A secret of 16 random bytes for keyed hashes, made with the region. */
const uint8_t *region_hash_key(const struct region *region);

#endif
