/*
 * The answer of a visitor that does not become a session: as HTTP, or, where a web page asked for
 * it, as a close frame behind an upgrade (closing.h).
 *
 * A visitor is answered once. Behind the answer the visitor lingers: a socket that is closed while
 * bytes wait in it resets the connection, and the reset can overtake the answer.
 */
#ifndef WORKER_REFUSAL_H
#define WORKER_REFUSAL_H

#include "worker/wire/http.h"

struct visitor;

/* Counts the refusal, and answers. A visitor whose handshake of TLS is under way can be told
 * nothing. */
void refusal_give(struct visitor *visitor, const struct http_refusal *refusal);
void refusal_fault(struct visitor *visitor, const struct http_fault *fault);
/* 503, to come again soon. */
void refusal_busy(struct visitor *visitor, const char *code, const char *message);
void refusal_draining(struct visitor *visitor);
void refusal_no_memory(struct visitor *visitor);
/* 400 */
void refusal_bad(struct visitor *visitor, const char *message);

/* Sends the answer, which is freed, and lingers. */
void refusal_answer(struct visitor *visitor, struct buf *answer);
/* Shuts our side down, and waits for the peer's end of file. Bytes that the peer sends meanwhile
 * are dropped. */
void refusal_linger(struct visitor *visitor);
/* The socket of a visitor that lingers has bytes, or has ended. */
void refusal_drop_input(struct visitor *visitor);

#endif
