/*
 * A visitor: a connection that has not been upgraded yet. A visitor has limits.handshakeSeconds and
 * limits.headerBytes to show its token, and leaves as a session or with a refusal
 * (docs/protocol.md, sections 1 and 2).
 *
 * At most limits.pendingHandshakes visitors wait for the rest of their head. Past that the visitor
 * that has waited longest gives way, so that slow heads keep nobody out who comes with a whole
 * head. Refused visitors that linger do not count as waiting; as many of them are kept at most.
 *
 * On a port for TLS the handshake comes first, within the same time and number. All work for
 * visitors is done at the end of a turn, within the visitors' share of the turn (turnstile.h): in
 * between the sessions are served.
 */
#ifndef WORKER_VISITOR_H
#define WORKER_VISITOR_H

#include "worker/entrance/turnstile.h"
#include "worker/wire/http.h"
#include "worker/session/office.h"
#include "worker/io/wheel.h"

struct sockaddr;
struct visitor;

struct visitors {
    struct office *office;
    struct wheel wheel;
    struct visitor *all;             /* doubly linked by next, at */
    struct visitor *dead;            /* to be freed at the end of the turn */
    struct visitor *oldest, *newest; /* of those whose head is awaited; NULL: none */
    uint32_t count, waiting_count;   /* of all; of those whose head is awaited */
    struct turnstile turnstile;      /* visitors that wait for their next step */
    uint32_t late_count;             /* of those that came while the office drained */
    bool starting; /* requests are kept until visitors_begin: the worker does not serve yet */
};

void visitors_init(struct visitors *visitors, struct office *office);
void visitors_fini(struct visitors *visitors);
/* Takes fd over; secure: the peer must speak TLS. Without memory fd is closed. */
void visitor_start(struct visitors *visitors, int fd, const struct sockaddr *peer, bool secure);
/* The worker serves: judges the requests that were kept. */
void visitors_begin(struct visitors *visitors);
/* The end of a turn: visitors go on, within their share of the turn. */
void visitors_go_on(struct visitors *visitors);
/* Draining: every visitor is answered 503. */
void visitors_turn_away(struct visitors *visitors);
/* The end of a turn: frees visitors that have gone. Returns whether there were any. */
bool visitors_flush(struct visitors *visitors);

#endif
