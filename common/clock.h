/*
 * The two clocks. Every timer uses the monotonic clock, so that a jump of the wall clock moves
 * none. Only times that are shown or stored (createTime, a token's expiry) are Unix time.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

uint64_t clock_monotonic_ns(void); /* the same origin in every process of this host */
uint64_t clock_monotonic_ms(void);
int64_t clock_unix_ms(void);
int64_t clock_unix_s(void);

#endif
