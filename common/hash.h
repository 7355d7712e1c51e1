/* SipHash-2-4 with 64 and 128 bits of result: a keyed hash, so that no stranger can craft
 * collisions. */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const uint8_t key[16], const void *data, size_t len);
void hash128(const uint8_t key[16], const void *data, size_t len, uint64_t out[2]);

#endif
