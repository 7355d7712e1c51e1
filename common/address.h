/* Addresses (docs/protocol.md, section 1.6) and the patterns of a token that cover them
 * (section 6.4).
 */
#ifndef COMMON_ADDRESS_H
#define COMMON_ADDRESS_H

#include "common/slice.h"

enum { ADDRESS_BYTES_MAX = 255 };

/* 1 to 255 bytes of UTF-8, no control characters (C0, DEL, C1), no white space (Unicode's) at
 * either end. */
bool address_valid(struct slice address);
bool address_is_group(struct slice address); /* begins with '#' */
/* "postmaster", "#all", anything beginning with '$'. */
bool address_reserved(struct slice address);
/* Valid, a user address, not reserved: can be a clientID or a from. */
bool address_may_speak(struct slice address);
/* A device's name: 0 to 64 bytes of UTF-8, with the other rules of an address. */
bool address_device_valid(struct slice device);
/* Does a token's pattern cover the address? A pattern is an exact address, or a prefix and '*'. */
bool address_pattern_covers(struct slice pattern, struct slice address);

#endif
