/*
 * Openings of mailboxes that are under way: one at a time for an address on this worker, so that a
 * client that connects as fast as it can costs Redis one opening and no pile of openings.
 *
 * Further sessions of the address wait. Of those that wait, a session that would be turned out
 * anyhow is turned out before Redis is asked: a newer session of its device waits, or more than
 * sessions.perAddress newer sessions wait.
 */
#ifndef WORKER_OPENINGS_H
#define WORKER_OPENINGS_H

#include "worker/session/session.h"

/* The session begins. True: no other opening of the address is under way, and the caller asks now.
 * False: the opening waits until openings_leave returns it. */
bool openings_enter(struct session_opening *opening);
/* The opening has its answer, or its session has ended. Returns the opening of the address that
 * asks next; NULL: none, or the opening that left was not under way. */
struct session_opening *openings_leave(struct session_opening *opening);

#endif
