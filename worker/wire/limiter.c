#include "worker/wire/limiter.h"

/* A rate of per_s messages a second is per_s thousandths of a message a millisecond: filling needs
 * no division. */
_Static_assert(LIMITER_BURST_MAX <= UINT32_MAX / 1000, "left_k holds a full bucket");

void limiter_init(struct limiter *limiter, uint32_t burst, uint64_t now_ms)
{
    limiter->at_ms = now_ms;
    limiter->left_k = burst * 1000;
}

static uint64_t left_now_k(const struct limiter *limiter, uint32_t per_s, uint32_t burst,
                           uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - limiter->at_ms;
    uint64_t full_k = (uint64_t)burst * 1000;
    uint64_t left_k = passed_ms > full_k ? full_k : limiter->left_k + passed_ms * per_s;

    return left_k > full_k ? full_k : left_k;
}

static uint32_t ms_until_one(uint64_t left_k, uint32_t per_s)
{
    return left_k < 1000 ? (uint32_t)((1000 - left_k + per_s - 1) / per_s) : 0;
}

void limiter_fill(struct limiter *limiter, uint32_t per_s, uint32_t burst, uint64_t now_ms)
{
    limiter->left_k = (uint32_t)left_now_k(limiter, per_s, burst, now_ms);
    limiter->at_ms = now_ms;
}

uint32_t limiter_take(struct limiter *limiter, uint32_t per_s, uint32_t burst, uint64_t now_ms)
{
    uint64_t left_k;

    if (per_s == 0)
        return 0;
    left_k = left_now_k(limiter, per_s, burst, now_ms);
    limiter->at_ms = now_ms;
    limiter->left_k = (uint32_t)(left_k < 1000 ? left_k : left_k - 1000);
    return ms_until_one(left_k, per_s);
}

uint32_t limiter_wait(const struct limiter *limiter, uint32_t per_s, uint32_t burst,
                      uint64_t now_ms)
{
    return per_s ? ms_until_one(left_now_k(limiter, per_s, burst, now_ms), per_s) : 0;
}

bool limiter_is_full(const struct limiter *limiter, uint32_t per_s, uint32_t burst, uint64_t now_ms)
{
    return per_s == 0 || left_now_k(limiter, per_s, burst, now_ms) == (uint64_t)burst * 1000;
}
