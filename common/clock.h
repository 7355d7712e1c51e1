/*
 * The two clocks. Everything that waits uses the monotonic one, so a jump of the wall clock moves
 * no timer; only what is shown or stored (createTime, token expiry) uses Unix time.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

uint64_t clock_monotonic_ns(void); /* the same origin in every process of this host */
uint64_t clock_monotonic_ms(void);
int64_t clock_unix_ms(void);
int64_t clock_unix_s(void);

#endif
