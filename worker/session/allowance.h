/*
 * Allowances: what an address may do on this worker in a time, whichever of its sessions does it.
 *
 * An allowance outlives the sessions that hold it, until all its buckets are full again: whoever
 * reconnects goes on with the bucket that was left, and gets no fresh one. At most
 * ALLOWANCES_IDLE_MAX allowances without a holder are kept; past that the one released longest ago
 * is dropped.
 *
 * The sessions of a service address are so many programs, which share one bucket: with each session
 * the bucket fills faster and holds more. No session brings a message with it.
 */
#ifndef WORKER_ALLOWANCE_H
#define WORKER_ALLOWANCE_H

#include "worker/session/office.h"
#include "worker/wire/limiter.h"

enum {
    ALLOWANCES_IDLE_MAX = 16384,
    /* Before sessions.replacementsPerSecond holds. */
    DEVICE_REPLACEMENTS_AT_ONCE = 4,
    ADDRESS_REPLACEMENTS_AT_ONCE = 16,
};

/* Of an address, or of one device of an address, which uses `replacements` alone. */
struct allowance {
    struct allowance *next;          /* of the same chain */
    struct allowance *older, *newer; /* without a holder: the neighbours by time of release */
    struct address_key key;
    struct limiter messages, acks;
    struct limiter replacements; /* sessions that turned out another session */
    uint64_t inflated_until_us;  /* until then the text that was inflated uses the rate up */
    uint32_t replacements_max;   /* the size of that bucket */
    uint32_t holders;
    bool service; /* the rates are those of each holder */
};

/* Finds the allowance or makes one with the full bucket of one session, and holds it. service: the
 * address is a service address. NULL: out of memory. */
struct allowance *allowance_hold(struct office *office, struct address_key key, bool service);
/* NULL is allowed. */
void allowance_release(struct office *office, struct allowance *allowance);
/* Once a second: drops allowances without a holder that are full again. */
void allowances_tick(struct office *office);
void allowances_free(struct office *office);

/* Takes a message, or an acknowledgement. Returns 0, or the milliseconds to wait. allowance NULL:
 * no limit holds. */
uint32_t allowance_take_message(struct office *office, struct allowance *allowance);
uint32_t allowance_take_ack(struct office *office, struct allowance *allowance);

/* Notes text that was inflated for the address. At most a second's worth is inflated ahead. */
void allowance_note_inflated(struct office *office, struct allowance *allowance, uint64_t bytes);
/* Returns 0, or the milliseconds until more of the address's messages may be inflated. */
uint32_t allowance_inflation_wait(const struct office *office, const struct allowance *allowance);

/* A session of the address, or of this device of the address, has turned out another. */
void allowance_note_replaced(struct office *office, struct slice address);
void allowance_note_device_replaced(struct office *office, struct slice address,
                                    struct slice device);
/* Returns 0, or the milliseconds until a new session of the device may come: the address's or the
 * device's sessions turn each other out too fast. */
uint32_t allowance_replacement_wait(const struct office *office, struct slice address,
                                    struct slice device);

#endif
