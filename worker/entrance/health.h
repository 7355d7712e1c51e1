/*
 * The health check (healthPath): a request that asks whether the server serves, and its answer. A
 * check takes no seat and begins no session.
 */
#ifndef WORKER_HEALTH_H
#define WORKER_HEALTH_H

#include "common/buf.h"
#include "worker/wire/http.h"

enum health { HEALTH_SERVING, HEALTH_WITHOUT_STORAGE, HEALTH_STARTING, HEALTH_DRAINING };

/* Is the request a GET or HEAD of this path? Never when the path is empty. */
bool health_asked(struct slice health_path, const struct http_parser *parser, const char *head);
/* Appends the whole answer: 200 while the server serves, else 503; without the body for HEAD. */
void health_answer(struct buf *out, const struct http_parser *parser, const char *head,
                   enum health health, int64_t unix_s);

#endif
