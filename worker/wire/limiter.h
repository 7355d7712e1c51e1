/* A token bucket in 16 bytes: how many messages a session may send. Pure. */
#ifndef WORKER_LIMITER_H
#define WORKER_LIMITER_H

#include <stdint.h>

struct limiter {
    uint64_t at_ms;  /* when `left` was right */
    uint32_t left_k; /* thousandths of a message */
};

/* A full bucket. */
void limiter_init(struct limiter *limiter, uint32_t burst, uint64_t now_ms);
/* Takes one message. Returns 0, or in how many milliseconds one will be there. per_s 0: no limit.
 */
uint32_t limiter_take(struct limiter *limiter, uint32_t per_s, uint32_t burst, uint64_t now_ms);

#endif
