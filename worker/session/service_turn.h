/*
 * Which addresses are services; and of messages to them that are not stored: whose turn it is.
 */
#ifndef WORKER_SERVICE_TURN_H
#define WORKER_SERVICE_TURN_H

#include "worker/session/directory.h"
#include "worker/session/office.h"

/* Does serviceAddresses cover it? */
bool service_is(const struct office *office, struct slice address);

/* Of all its sessions on this host one, by turns: bit w is returned for another worker, 0 for this
 * one (or none). */
uint64_t service_choose(struct office *office, struct address_key key);
/* The same among fields of `:at`: of those that are of living workers of other hosts one, to which
 * *fields points then. Returns 1, or 0 when there are none. */
size_t service_choose_far(struct office *office, struct slice address, const struct slice **fields,
                          size_t count);
/* Of those here: the one with the fewest bytes waiting, of those the one whose turn was longest
 * ago. */
struct session *service_turn(struct directory_entry *entry);

#endif
