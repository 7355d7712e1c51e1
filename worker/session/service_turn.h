/*
 * Which addresses are services, and which session of a service address gets a message that is not
 * stored: the sessions take turns.
 */
#ifndef WORKER_SERVICE_TURN_H
#define WORKER_SERVICE_TURN_H

#include "worker/session/directory.h"
#include "worker/session/office.h"

/* Does serviceAddresses cover the address? */
bool service_is(const struct office *office, struct slice address);
/* Is the address known though it may never have had a session? A service may begin after its mail,
 * and mailbox.knownAddresses names others. */
bool service_or_known(const struct office *office, struct slice address);

/* Counts the turns of the address with this key, from 0 on. Addresses whose keys meet in
 * office->service_turns share a count: each still walks all of its sessions. */
uint32_t service_turn_next(struct office *office, struct address_key key);
/* Chooses one session of the address on this host, by turns. Returns bit w for a session on
 * another worker w; 0 when the session is on this worker, or when there is none. */
uint64_t service_choose(struct office *office, struct address_key key);
/* Chooses one session of the address on this worker: the session with the fewest unsent bytes,
 * among equals the session that was chosen longest ago. NULL when there is none. */
struct session *service_turn(struct directory_entry *entry);

#endif
