/* A token bucket in 16 bytes: limits the messages of a session. Pure. */
#ifndef WORKER_LIMITER_H
#define WORKER_LIMITER_H

#include <stdint.h>

struct limiter {
    uint64_t at_ms;  /* when left_k was computed */
    uint32_t left_k; /* thousandths of a message */
};

/* Fills the bucket. */
void limiter_init(struct limiter *limiter, uint32_t burst, uint64_t now_ms);
/* Takes one message out of the bucket. Returns 0, or, with nothing taken, the milliseconds until
 * the next message may be taken. per_s 0: no limit. */
uint32_t limiter_take(struct limiter *limiter, uint32_t per_s, uint32_t burst, uint64_t now_ms);

#endif
