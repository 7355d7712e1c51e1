/*
 * The handshake of TLS, before the request. A hello costs a private-key operation, so its answer is
 * a dear step of the turnstile, where the visitor waits for it.
 */
#ifndef WORKER_GREETING_H
#define WORKER_GREETING_H

#include <stdbool.h>

struct visitor;

/* A step of the handshake. answer: the client's hello may be answered now. True: the handshake is
 * over; false: it goes on, or the visitor has been refused. */
bool greeting_step(struct visitor *visitor, bool answer);

#endif
