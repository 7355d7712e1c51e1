/*
 * A visitor: a connection that has not been upgraded yet. A visitor has limits.handshakeSeconds and
 * limits.headerBytes to show its token, and leaves as a session or with a refusal
 * (docs/protocol.md, sections 1 and 2).
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
/* Takes fd over. Without memory fd is closed. */
void visitor_start(struct visitors *visitors, int fd, const struct sockaddr *peer);
/* Draining: every visitor is answered 503. */
void visitors_turn_away(struct visitors *visitors);
/* The end of a turn: frees visitors that have gone. Returns whether there were any. */
bool visitors_flush(struct visitors *visitors);

#endif
