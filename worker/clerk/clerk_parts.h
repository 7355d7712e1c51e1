/* What the files of the clerk share, and nobody else sees. */
#ifndef WORKER_CLERK_PARTS_H
#define WORKER_CLERK_PARTS_H

#include "common/buf.h"
#include "worker/clerk/clerk.h"
#include "worker/clerk/web.h"
#include "worker/token/token.h"

#include <sys/queue.h>

struct batch;

struct clerk {
    struct office *office;
    struct web *web;
    LIST_HEAD(, batch) batches; /* api_messages.c */
};

/* A request that may be answered: whoever asks has the right. */
struct clerk_call {
    struct clerk *clerk;
    struct web_request *request;
    struct grant *grant; /* of the caller's token, until the handler returns; NULL: came to a
                                  unix socket, and may do everything */
};

/* ---- clerk.c: answers ---- */

/* An answer whose body is the JSON text in out. */
void clerk_answer_json(struct web_request *request, int status, const struct buf *out);
/* A problem whose members are in out. */
void clerk_answer_problem_json(struct web_request *request, int status, const struct buf *out);
/* A problem (RFC 9457): `code` is one of docs/protocol.md's or docs/operations.md's, `detail` a
 * sentence for people. */
void clerk_answer_problem(struct web_request *request, int status, const char *code,
                          const char *detail);

/* ---- health_pages.c ---- */

void clerk_health_live(const struct clerk_call *call);
void clerk_health_ready(const struct clerk_call *call);

/* ---- api_messages.c ---- */

void clerk_messages_post(const struct clerk_call *call);
/* The end of a turn: sends what there is room for, and answers what is over. */
void clerk_messages_turn(struct clerk *clerk);
/* Answers all that are under way, as they are. */
void clerk_messages_free(struct clerk *clerk);

#endif
