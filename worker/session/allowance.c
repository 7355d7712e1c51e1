#include "worker/session/allowance.h"

#include "common/address.h"

#include <assert.h>
#include <stdlib.h>

enum { CHAINS_FIRST = 256 };

struct allowances {
    struct allowance **chains;
    uint32_t chain_count, count;
    struct allowance *oldest, *newest; /* without a holder */
    uint32_t idle_count;
};

static struct allowances *allowances_of(struct office *office)
{
    struct allowances *allowances = office->allowances;

    if (allowances)
        return allowances;
    allowances = calloc(1, sizeof *allowances);
    if (!allowances)
        return NULL;
    allowances->chains = calloc(CHAINS_FIRST, sizeof(struct allowance *));
    if (!allowances->chains) {
        free(allowances);
        return NULL;
    }
    allowances->chain_count = CHAINS_FIRST;
    office->allowances = allowances;
    return allowances;
}

static struct allowance **chain_of(const struct allowances *allowances, struct address_key key)
{
    return &allowances->chains[key.lo & (allowances->chain_count - 1)];
}

static struct allowance *allowance_find(const struct office *office, struct address_key key)
{
    struct allowance *allowance;

    if (!office->allowances)
        return NULL;
    allowance = *chain_of(office->allowances, key);
    while (allowance && (allowance->key.lo != key.lo || allowance->key.hi != key.hi))
        allowance = allowance->next;
    return allowance;
}

/* Doubles the chains; without memory for them the chains get longer, and nothing else happens. */
static void chains_grow(struct allowances *allowances)
{
    struct allowances old = *allowances;
    struct allowance **chains = calloc((size_t)old.chain_count * 2, sizeof *chains);

    if (!chains)
        return;
    allowances->chains = chains;
    allowances->chain_count = old.chain_count * 2;
    for (uint32_t i = 0; i < old.chain_count; i++) {
        struct allowance *allowance;
        while ((allowance = old.chains[i])) {
            struct allowance **chain = chain_of(allowances, allowance->key);
            old.chains[i] = allowance->next;
            allowance->next = *chain;
            *chain = allowance;
        }
    }
    free(old.chains);
}

/* ---- without a holder ---- */

static void idle_begin(struct allowances *allowances, struct allowance *allowance)
{
    allowance->newer = NULL;
    allowance->older = allowances->newest;
    if (allowance->older)
        allowance->older->newer = allowance;
    else
        allowances->oldest = allowance;
    allowances->newest = allowance;
    allowances->idle_count++;
}

static void idle_end(struct allowances *allowances, struct allowance *allowance)
{
    if (allowance->older)
        allowance->older->newer = allowance->newer;
    else
        allowances->oldest = allowance->newer;
    if (allowance->newer)
        allowance->newer->older = allowance->older;
    else
        allowances->newest = allowance->older;
    allowances->idle_count--;
}

static void idle_drop(struct allowances *allowances, struct allowance *allowance)
{
    struct allowance **at = chain_of(allowances, allowance->key);

    assert(allowance->holders == 0);
    idle_end(allowances, allowance);
    while (*at != allowance)
        at = &(*at)->next;
    *at = allowance->next;
    allowances->count--;
    free(allowance);
}

/* ---- rates ---- */

struct rate {
    uint32_t per_s, burst;
};

static uint32_t share_of(const struct allowance *allowance)
{
    return allowance->service && allowance->holders > 1 ? allowance->holders : 1;
}

/* The rate of all holders together. */
static struct rate rate_of(const struct allowance *allowance, int64_t per_s, int64_t burst)
{
    uint32_t share = share_of(allowance);
    int64_t most = burst * share;

    return (struct rate){ .per_s = (uint32_t)(per_s * share),
                          .burst =
                              (uint32_t)(most < LIMITER_BURST_MAX ? most : LIMITER_BURST_MAX) };
}

static struct rate message_rate(const struct office *office, const struct allowance *allowance)
{
    return rate_of(allowance, office->config->limits.messages_per_s, office->config->limits.burst);
}

static struct rate ack_rate(const struct office *office, const struct allowance *allowance)
{
    return rate_of(allowance, office->config->limits.acks_per_s, office->config->limits.acks_burst);
}

/* The time up to now counts for the holders that there were. */
static void change_holders(struct office *office, struct allowance *allowance, int change)
{
    struct rate messages = message_rate(office, allowance), acks = ack_rate(office, allowance);
    uint64_t now_ms = loop_now_ms(office->loop);

    if (allowance->service) {
        limiter_fill(&allowance->messages, messages.per_s, messages.burst, now_ms);
        limiter_fill(&allowance->acks, acks.per_s, acks.burst, now_ms);
    }
    allowance->holders += (uint32_t)change;
}

static bool is_full(const struct office *office, const struct allowance *allowance)
{
    const struct config *config = office->config;
    struct rate messages = message_rate(office, allowance), acks = ack_rate(office, allowance);
    uint64_t now_ms = loop_now_ms(office->loop);

    return limiter_is_full(&allowance->messages, messages.per_s, messages.burst, now_ms) &&
           limiter_is_full(&allowance->acks, acks.per_s, acks.burst, now_ms) &&
           allowance->inflated_until_us <= now_ms * 1000 &&
           limiter_is_full(&allowance->replacements, (uint32_t)config->sessions.replacements_per_s,
                           allowance->replacements_max, now_ms);
}

void allowances_tick(struct office *office)
{
    struct allowances *allowances = office->allowances;

    while (allowances && allowances->oldest && is_full(office, allowances->oldest))
        idle_drop(allowances, allowances->oldest);
}

/* ---- holding ---- */

static struct allowance *allowance_new(struct office *office, struct allowances *allowances,
                                       struct address_key key, uint32_t replacements_max)
{
    const struct config *config = office->config;
    uint64_t now_ms = loop_now_ms(office->loop);
    struct allowance *allowance = malloc(sizeof *allowance), **chain;

    if (!allowance)
        return NULL;
    if (allowances->count >= allowances->chain_count)
        chains_grow(allowances);
    chain = chain_of(allowances, key);
    *allowance =
        (struct allowance){ .next = *chain, .key = key, .replacements_max = replacements_max };
    limiter_init(&allowance->messages, (uint32_t)config->limits.burst, now_ms);
    limiter_init(&allowance->acks, (uint32_t)config->limits.acks_burst, now_ms);
    limiter_init(&allowance->replacements, replacements_max, now_ms);
    *chain = allowance;
    allowances->count++;
    return allowance;
}

static struct allowance *hold_allowance(struct office *office, struct address_key key,
                                        uint32_t replacements_max)
{
    struct allowances *allowances = allowances_of(office);
    struct allowance *allowance = allowances ? allowance_find(office, key) : NULL;

    if (!allowances)
        return NULL;
    if (!allowance)
        allowance = allowance_new(office, allowances, key, replacements_max);
    else if (allowance->holders == 0)
        idle_end(allowances, allowance);
    if (allowance)
        change_holders(office, allowance, 1);
    return allowance;
}

struct allowance *allowance_hold(struct office *office, struct address_key key, bool service)
{
    struct allowance *allowance = hold_allowance(office, key, ADDRESS_REPLACEMENTS_AT_ONCE);

    if (allowance)
        allowance->service = service;
    return allowance;
}

void allowance_release(struct office *office, struct allowance *allowance)
{
    struct allowances *allowances = office->allowances;

    if (!allowance)
        return;
    assert(allowance->holders > 0);
    change_holders(office, allowance, -1);
    if (allowance->holders > 0)
        return;
    idle_begin(allowances, allowance);
    if (is_full(office, allowance))
        idle_drop(allowances, allowance);
    else if (allowances->idle_count > ALLOWANCES_IDLE_MAX)
        idle_drop(allowances, allowances->oldest);
}

void allowances_free(struct office *office)
{
    struct allowances *allowances = office->allowances;

    if (!allowances)
        return;
    for (uint32_t i = 0; i < allowances->chain_count; i++) {
        struct allowance *allowance;
        while ((allowance = allowances->chains[i])) {
            allowances->chains[i] = allowance->next;
            free(allowance);
        }
    }
    free(allowances->chains);
    free(allowances);
    office->allowances = NULL;
}

/* ---- taking ---- */

uint32_t allowance_take_message(struct office *office, struct allowance *allowance)
{
    struct rate rate;

    if (!allowance)
        return 0;
    rate = message_rate(office, allowance);
    return limiter_take(&allowance->messages, rate.per_s, rate.burst, loop_now_ms(office->loop));
}

uint32_t allowance_take_ack(struct office *office, struct allowance *allowance)
{
    struct rate rate;

    if (!allowance)
        return 0;
    rate = ack_rate(office, allowance);
    return limiter_take(&allowance->acks, rate.per_s, rate.burst, loop_now_ms(office->loop));
}

void allowance_note_inflated(struct office *office, struct allowance *allowance, uint64_t bytes)
{
    uint64_t per_s = (uint64_t)office->config->limits.inflated_bytes_per_s * share_of(allowance);
    uint64_t *until = &allowance->inflated_until_us, now_us = loop_now_ms(office->loop) * 1000;

    if (per_s)
        *until = (*until > now_us ? *until : now_us) + bytes * 1000000 / per_s;
}

uint32_t allowance_inflation_wait(const struct office *office, const struct allowance *allowance)
{
    uint64_t ahead_ms = loop_now_ms(office->loop) + 1000,
             until_ms = allowance->inflated_until_us / 1000;

    return office->config->limits.inflated_bytes_per_s && until_ms > ahead_ms
               ? (uint32_t)(until_ms - ahead_ms)
               : 0;
}

/* No address has a newline, so no other address or device has the same key. */
static struct address_key device_key(const struct office *office, struct slice address,
                                     struct slice device)
{
    char text[ADDRESS_BYTES_MAX + 1 + DEVICE_BYTES_MAX];

    assert(address.len + 1 + device.len <= sizeof text);
    memcpy(text, address.data, address.len);
    text[address.len] = '\n';
    if (device.len)
        memcpy(text + address.len + 1, device.data, device.len);
    return sessions_key(office->region, slice_make(text, address.len + 1 + device.len));
}

/* Without memory the replacement is not noted. */
static void note_replacement(struct office *office, struct address_key key,
                             uint32_t replacements_max)
{
    struct allowance *allowance = hold_allowance(office, key, replacements_max);

    if (!allowance)
        return;
    limiter_take(&allowance->replacements, (uint32_t)office->config->sessions.replacements_per_s,
                 allowance->replacements_max, loop_now_ms(office->loop));
    allowance_release(office, allowance);
}

void allowance_note_replaced(struct office *office, struct slice address)
{
    note_replacement(office, sessions_key(office->region, address), ADDRESS_REPLACEMENTS_AT_ONCE);
}

void allowance_note_device_replaced(struct office *office, struct slice address,
                                    struct slice device)
{
    note_replacement(office, device_key(office, address, device), DEVICE_REPLACEMENTS_AT_ONCE);
}

static uint32_t replacement_wait(const struct office *office, struct address_key key)
{
    const struct allowance *allowance = allowance_find(office, key);

    return allowance ? limiter_wait(&allowance->replacements,
                                    (uint32_t)office->config->sessions.replacements_per_s,
                                    allowance->replacements_max, loop_now_ms(office->loop))
                     : 0;
}

uint32_t allowance_replacement_wait(const struct office *office, struct slice address,
                                    struct slice device)
{
    uint32_t of_address = replacement_wait(office, sessions_key(office->region, address));
    uint32_t of_device = replacement_wait(office, device_key(office, address, device));

    return of_address > of_device ? of_address : of_device;
}
