/* A token bucket in 16 bytes: limits how often something may happen. Pure. */
#ifndef WORKER_LIMITER_H
#define WORKER_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

enum { LIMITER_BURST_MAX = 4000000 };

struct limiter {
    uint64_t at_ms;  /* when left_k was computed */
    uint32_t left_k; /* thousandths of a message (or of whatever is limited) */
};

/* Fills the bucket. A burst is at most LIMITER_BURST_MAX. */
void limiter_init(struct limiter *limiter, uint32_t burst, uint64_t now_ms);
/* Adds what the time up to now brings at this rate: before the rate changes. */
void limiter_fill(struct limiter *limiter, uint32_t per_s, uint32_t burst, uint64_t now_ms);
/* Takes one message out of the bucket. Returns 0, or, with nothing taken, the milliseconds until
 * the next message may be taken. per_s 0: no limit. */
uint32_t limiter_take(struct limiter *limiter, uint32_t per_s, uint32_t burst, uint64_t now_ms);
/* Returns what limiter_take would return, and takes nothing. */
uint32_t limiter_wait(const struct limiter *limiter, uint32_t per_s, uint32_t burst,
                      uint64_t now_ms);
/* Would a fresh bucket be no different? */
bool limiter_is_full(const struct limiter *limiter, uint32_t per_s, uint32_t burst,
                     uint64_t now_ms);

#endif
