/*
 * The keys of TLS session tickets, which the master makes and all workers read: a client that comes
 * back to any worker is known by the ticket of another.
 *
 * The keys lie in memory of their own, locked, outside the region: `status` and whoever else may
 * map the region never sees them. The mapping has no name and no descriptor. One writer, the
 * master; a version that is odd while the keys change lets readers read again.
 */
#ifndef SHM_TICKETS_H
#define SHM_TICKETS_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct tickets; /* a mapping that fork shares */

enum { TICKET_NAME_BYTES = 16, TICKET_AES_BYTES = 32, TICKET_HMAC_BYTES = 32 };

struct ticket_key {
    uint8_t name[TICKET_NAME_BYTES]; /* stands in every ticket, in the clear */
    uint8_t aes[TICKET_AES_BYTES];
    uint8_t hmac[TICKET_HMAC_BYTES];
};

/* Master, before the first fork: returns an empty mapping; NULL with errno. */
struct tickets *tickets_new(void);
void tickets_free(struct tickets *tickets); /* NULL is allowed; wipes the keys in a master */
/* Worker, after the fork: locks the memory again, and lets this process read alone. */
void tickets_protect(struct tickets *tickets);

/* Master: makes a new key when the newest is as old as a quarter of lifetime_s, so that every
 * ticket is readable for its lifetime and no key for much longer. lifetime_s 0: no key, and no
 * session is resumed. Returns when this must be called again, in ms of now_ms's clock; UINT64_MAX:
 * never. */
uint64_t tickets_turn(struct tickets *tickets, uint64_t now_ms, uint32_t lifetime_s);

/* Anyone. Seconds that a ticket is good for; 0: none are given. */
uint32_t tickets_lifetime_s(const struct tickets *tickets);
/* Copies the key that new tickets are made with. False: there is none. The caller wipes the copy.
 */
bool tickets_newest(const struct tickets *tickets, struct ticket_key *key);
/* Copies the key of that name. False: the key is gone, or never was. *newest:
 * no newer key exists. */
bool tickets_find(const struct tickets *tickets, const uint8_t name[TICKET_NAME_BYTES],
                  struct ticket_key *key, bool *newest);

#endif
