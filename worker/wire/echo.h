/*
 * `echo-test`: a bare echo of messages by the server's own codec and connections, so that any
 * outside WebSocket suite or load generator can drive them. Loopback only, no token, no Redis; no
 * worker that serves ever calls this file.
 */
#ifndef WORKER_ECHO_H
#define WORKER_ECHO_H

#include "worker/wire/tls.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether echo-test agrees to compress messages, and whether contexts last. */
enum echo_deflate { ECHO_PLAIN, ECHO_DEFLATE, ECHO_TAKEOVER };

/* Echoes text and binary messages of up to 32 MiB on 127.0.0.1:port until SIGTERM or SIGINT, over
 * TLS unless pair is NULL. Returns the exit status: 0, or 1 when the port cannot be listened on or
 * memory is out. */
int echo_run(uint16_t port, enum echo_deflate deflate, const struct tls_pair *pair);

#endif
