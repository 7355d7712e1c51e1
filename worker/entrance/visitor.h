/*
 * A visitor: a connection that has not been upgraded yet. It has limits.handshakeSeconds in all,
 * and limits.headerBytes, to say who it is; it leaves as a session, or with a refusal.
 */
#ifndef WORKER_VISITOR_H
#define WORKER_VISITOR_H

#include "worker/wire/http.h"
#include "worker/session/office.h"
#include "worker/io/wheel.h"

struct sockaddr;
struct visitor;

struct visitors {
    struct office *office;
    struct wheel wheel;
    struct visitor *all;  /* doubly linked by next, at */
    struct visitor *dead; /* to be freed at the end of the turn */
    uint32_t count;
};

void visitors_init(struct visitors *visitors, struct office *office);
void visitors_fini(struct visitors *visitors);
/* Takes fd over. */
void visitor_start(struct visitors *visitors, int fd, const struct sockaddr *peer);
/* Draining: everybody is answered 503. */
void visitors_turn_away(struct visitors *visitors);
/* Frees those that have gone; returns whether there were any. */
bool visitors_flush(struct visitors *visitors);

#endif
