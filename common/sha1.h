/* SHA-1 (FIPS 180-4), for Sec-WebSocket-Accept alone (RFC 6455 4.2.2), where the hash protects
 * nothing. */
#ifndef COMMON_SHA1_H
#define COMMON_SHA1_H

#include <stddef.h>
#include <stdint.h>

void sha1(const void *data, size_t len, uint8_t digest[20]);

#endif
