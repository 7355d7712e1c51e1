/*
 * The crew's seats, private to two files: crew.c (who has a seat, and until when) and crew_talk.c
 * (what master and workers say to each other). crew.c calls crew_talk.c, never the other way.
 */
#ifndef MASTER_CREW_PARTS_H
#define MASTER_CREW_PARTS_H

#include "master/crew.h"

static inline bool seat_is_alive(const struct seat *seat)
{
    return seat->pid > 0;
}

/* The name of an event in the log, "worker_..." or "clerk_...". */
static inline const char *seat_event(const struct seat *seat, const char *of_worker,
                                     const char *of_clerk)
{
    return seat->is_clerk ? of_clerk : of_worker;
}

/* ---- crew_talk.c ---- */

/* SIGKILL, once. */
void seat_kill(struct seat *seat);
/* Sends what waits for the worker. A worker that cannot be told, for which err may be the reason,
 * is killed: see crew_tell. */
void crew_flush(struct crew *crew, int slot, enum err err);
/* crew_tell for one worker. payload may be NULL. */
void crew_tell_seat(struct crew *crew, int slot, enum control_type type,
                    struct control_payload *payload, int fd_pass);

#endif
