/* What the files of the clerk share, and nobody else sees. */
#ifndef WORKER_CLERK_PARTS_H
#define WORKER_CLERK_PARTS_H

#include "common/buf.h"
#include "common/seq.h"
#include "worker/clerk/clerk.h"
#include "worker/clerk/redis_view.h"
#include "worker/clerk/survey.h"
#include "worker/clerk/web.h"
#include "worker/token/token.h"

#include <sys/queue.h>

struct batch;

/* api_reload.c: the reload that the master is asked for. */
struct reload_call {
    struct web_request *request; /* NULL: none is under way */
    uint32_t number;             /* of the last question */
    uint64_t due_ms;
};

struct clerk {
    struct office *office;
    struct web *web;
    LIST_HEAD(batch_list, batch) batches; /* api_messages.c */
    struct surveys surveys;
    struct redis_view redis;
    int control_fd; /* to the master; borrowed */
    struct reload_call reload;
    LIST_HEAD(task_list, clerk_task) tasks; /* task.c */
    uint32_t task_count;
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
/* The same with header lines, each with CR LF, in place of those that the status asks for; NULL:
 * none. */
void clerk_answer_problem_with(struct web_request *request, int status, const char *code,
                               const char *detail, const char *headers);

/* Who asks, for the log: the token's sub, or "local". */
const char *clerk_caller(const struct clerk_call *call);
/* Logs a call that changes something: who, what, and on what. */
void clerk_log_change(const struct clerk_call *call, const char *what, const char *on);
/* Percent-decodes (RFC 3986 2.1). False: too long, empty, with a NUL, or not UTF-8. */
bool clerk_decode(struct slice text, char out[CLERK_PARAM_MAX]);
/* The value of a parameter of the query. False: absent, or *is_bad (twice, or no good text). */
bool clerk_query(const struct web_request *request, const char *name, char out[CLERK_PARAM_MAX],
                 bool *is_bad);

/* Adds ,"name": and the text as a string, or the seq; a seq of zero is left out. */
void clerk_add_text(struct buf *out, const char *name, struct slice text);
void clerk_add_seq(struct buf *out, const char *name, struct seq seq);
/* The address in the path's segment of this number. False: answered, 400. */
bool clerk_take_address(const struct clerk_call *call, unsigned number, struct slice *address);
/* A whole number in the query. False: answered, 400. */
bool clerk_take_number(struct web_request *request, const char *name, uint64_t initial,
                       uint64_t max, uint64_t *number);
/* A seq in the query; absent: zero. False: answered, 400. */
bool clerk_take_seq(struct web_request *request, const char *name, struct seq *seq);

/* ---- task.c ---- */

/* A request that waits for Redis: the first member of a record of the handler's. */
struct clerk_task {
    LIST_ENTRY(clerk_task) link;
    struct clerk *clerk;
    struct web_request *request; /* NULL: answered */
    uint64_t due_ms;
};

/* Returns zeroed memory of this size, with the task in front, for clerk_task_free. NULL: the call
 * is answered: Redis is away, or too many tasks are under way. */
void *clerk_task_new(const struct clerk_call *call, size_t size);
/* The next step of the task begins: the step has its own redis.commandTimeoutMs. */
void clerk_task_renew(struct clerk_task *task);
/* Answers, unless the task's time is over. */
void clerk_task_answer(struct clerk_task *task, int status, const struct buf *out);
void clerk_task_problem(struct clerk_task *task, int status, const char *code, const char *detail);
/* Answers 503: Redis is away, or has refused. */
void clerk_task_unavailable(struct clerk_task *task);
/* The task is answered, and nothing will call with the task any more. */
void clerk_task_free(struct clerk_task *task);
/* Answers the tasks whose time is over; their records stay until Redis has answered. */
void clerk_tasks_turn(struct clerk *clerk);

/* ---- api_mailboxes.c ---- */

void clerk_mailbox_get(const struct clerk_call *call);
void clerk_mailbox_read(const struct clerk_call *call);
void clerk_mailbox_purge(const struct clerk_call *call);

/* ---- api_state.c ---- */

void clerk_state_get(const struct clerk_call *call);

/* ---- api_groups.c ---- */

void clerk_group_get(const struct clerk_call *call);

/* ---- api_sessions.c ---- */

void clerk_sessions_get(const struct clerk_call *call);
void clerk_sessions_end(const struct clerk_call *call);

/* ---- api_nodes.c ---- */

void clerk_nodes_get(const struct clerk_call *call);

/* ---- api_reload.c ---- */

void clerk_reload_post(const struct clerk_call *call);
/* About once a second: no request waits for ever. */
void clerk_reload_tick(struct clerk *clerk);
/* Answers the request that waits, if there is one. */
void clerk_reload_free(struct clerk *clerk);
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
