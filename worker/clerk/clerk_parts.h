/* What the files of the clerk share, and nobody else sees. */
#ifndef WORKER_CLERK_PARTS_H
#define WORKER_CLERK_PARTS_H

#include "common/buf.h"
#include "worker/clerk/clerk.h"
#include "worker/clerk/redis_view.h"
#include "worker/clerk/survey.h"
#include "worker/clerk/web.h"
#include "worker/token/token.h"

#include <sys/queue.h>

struct batch;

struct clerk {
    struct office *office;
    struct web *web;
    LIST_HEAD(batch_list, batch) batches; /* api_messages.c */
    struct surveys surveys;
    struct redis_view redis;
    struct saving { /* api_revocations.c: what Redis does not have yet */
        size_t bucket;
        uint32_t leaving; /* on the way to Redis, for no request */
        uint64_t next_ms;
        bool walking;
    } saving;
};

enum { CLERK_PARAMS_MAX = 2, CLERK_PARAM_MAX = 512 };
/* The segments of a path that a route takes, decoded, each NUL-terminated UTF-8 without NUL. */
struct clerk_params {
    unsigned count;
    char text[CLERK_PARAMS_MAX][CLERK_PARAM_MAX];
};

/* A request that may be answered: whoever asks has the right. */
struct clerk_call {
    struct clerk *clerk;
    struct web_request *request;
    const struct clerk_params *params; /* until the handler returns */
    struct grant *grant; /* of the caller's token, until the handler returns; NULL: came to a
                                  unix socket, and may do everything */
};

/* ---- call.c ---- */

/* An answer whose body is the JSON text in out. */
void clerk_answer_json(struct web_request *request, int status, const struct buf *out);
/* A problem whose members are in out. */
void clerk_answer_problem_json(struct web_request *request, int status, const struct buf *out);
/* A problem (RFC 9457): `code` is one of docs/protocol.md's or docs/operations.md's, `detail` a
 * sentence for people. */
void clerk_answer_problem(struct web_request *request, int status, const char *code,
                          const char *detail);

/* Who asks, for the log: the token's sub, or "local". */
const char *clerk_caller(const struct clerk_call *call);
/* Logs a call that changes something: who, what, and on what. */
void clerk_log_change(const struct clerk_call *call, const char *what, const char *on);
/* Percent-decodes (RFC 3986 2.1). False: too long, empty, with a NUL, or not UTF-8. */
bool clerk_decode(struct slice text, char out[CLERK_PARAM_MAX]);
/* The value of a parameter of the query. False: absent, or *is_bad (twice, or no good text). */
bool clerk_query(const struct web_request *request, const char *name, char out[CLERK_PARAM_MAX],
                 bool *is_bad);

/* ---- api_sessions.c ---- */

void clerk_sessions_get(const struct clerk_call *call);
void clerk_sessions_end(const struct clerk_call *call);

/* ---- api_nodes.c ---- */

void clerk_nodes_get(const struct clerk_call *call);

/* ---- api_revocations.c ---- */

void clerk_revocations_get(const struct clerk_call *call);
void clerk_revocation_get(const struct clerk_call *call);
void clerk_revocation_put(const struct clerk_call *call);
void clerk_revocation_delete(const struct clerk_call *call);
/* The end of a turn: writes to Redis what could not be written before. */
void clerk_revocations_turn(struct clerk *clerk);

/* ---- metrics_page.c ---- */

void clerk_metrics_get(const struct clerk_call *call);

/* ---- health_pages.c ---- */

void clerk_health_live(const struct clerk_call *call);
void clerk_health_ready(const struct clerk_call *call);

/* ---- api_messages.c ---- */

void clerk_messages_post(const struct clerk_call *call);
void clerk_messages_recall(const struct clerk_call *call);
/* The end of a turn: sends what there is room for, and answers what is over. */
void clerk_messages_turn(struct clerk *clerk);
/* Answers all that are under way, as they are. */
void clerk_messages_free(struct clerk *clerk);

#endif
