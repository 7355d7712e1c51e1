/*
 * GET /api/v1/sessions: who is connected, where; DELETE /api/v1/sessions/ID: one is ended.
 *
 * The workers know their sessions, so a survey asks them. A page is at most LIMIT_MAX sessions of
 * each worker; the cursor is an index in every worker's list, so a session that stays is listed
 * once, and sessions that come meanwhile may be missed or listed, as they please.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/json.h"
#include "common/log.h"
#include "worker/mailbox/place.h"

#include <stdio.h>
#include <stdlib.h>

enum { QUESTION_MAX = 2048, ANSWER_MAX = 32 << 20, LIMIT = 100, LIMIT_MAX = 200 };

struct listing {
    struct web_request *request;
    struct buf sessions; /* JSON objects with commas between */
    uint64_t next;       /* the smallest cursor that a worker gave; 0: all are done */
    bool is_end;         /* of one session */
    bool ended;
};

static struct listing *listing_new(struct web_request *request)
{
    struct listing *listing = calloc(1, sizeof *listing);

    if (!listing)
        return NULL;
    listing->request = request;
    buf_init(&listing->sessions, ANSWER_MAX);
    return listing;
}

static void listing_free(struct listing *listing)
{
    buf_fini(&listing->sessions);
    free(listing);
}

static void take_member(void *arg, const struct json_member *member)
{
    struct listing *listing = arg;
    struct slice inside = member->value.text;
    int64_t next;

    if (json_key_equal(&member->key, SLICE("ended")))
        listing->ended = member->value.type == JSON_TRUE;
    if (json_key_equal(&member->key, SLICE("next")) && json_int(&member->value, &next) &&
        next > 0 && (listing->next == 0 || (uint64_t)next < listing->next))
        listing->next = (uint64_t)next;
    if (!json_key_equal(&member->key, SLICE("sessions")) || member->value.type != JSON_ARRAY ||
        inside.len <= 2)
        return;
    if (listing->sessions.len)
        buf_add_char(&listing->sessions, ',');
    buf_add(&listing->sessions, inside.data + 1, inside.len - 2);
}

static void on_answered(void *arg, struct slice place, struct slice answer)
{
    struct json_value value;
    struct json_fault fault;

    (void)place;
    json_check_members(answer, JSON_DEPTH_LIMIT, &value, &fault, take_member, arg);
}

static void on_listed(void *arg, uint32_t missing)
{
    struct listing *listing = arg;
    struct buf out;

    buf_init(&out, ANSWER_MAX + QUESTION_MAX);
    buf_add_text(&out, "{\"sessions\":[");
    buf_add_slice(&out, buf_slice(&listing->sessions));
    buf_addf(&out, "],\"workersMissing\":%u", missing);
    if (listing->next)
        buf_addf(&out, ",\"cursor\":\"%llu\"", (unsigned long long)listing->next);
    buf_add_text(&out, "}\n");
    out.failed |= listing->sessions.failed;
    clerk_answer_json(listing->request, 200, &out);
    buf_fini(&out);
    listing_free(listing);
}

static const struct survey_calls list_calls = { on_answered, on_listed };

static void answer_not_asked(struct web_request *request, enum err err)
{
    clerk_answer_problem(request, 503, "busy",
                         err == ERR_FULL ? "too many such questions are under way"
                                         : "out of memory");
}

static void answer_bad(struct web_request *request, const char *detail)
{
    clerk_answer_problem(request, 400, "bad-field", detail);
}

void clerk_sessions_get(const struct clerk_call *call)
{
    struct web_request *request = call->request;
    char address[CLERK_PARAM_MAX], node[CLERK_PARAM_MAX], question[QUESTION_MAX];
    bool bad_address, bad_node;
    struct listing *listing;
    uint64_t from, limit;
    enum err err;
    int len;

    clerk_query(request, "address", address, &bad_address);
    clerk_query(request, "node", node, &bad_node);
    if (bad_address || bad_node) {
        answer_bad(request, "address and node: text, once each");
        return;
    }
    if (!clerk_take_number(request, "cursor", 0, UINT32_MAX, &from) ||
        !clerk_take_number(request, "limit", LIMIT, LIMIT_MAX, &limit))
        return;
    len = snprintf(question, sizeof question, "sessions\n%llu\n%llu\n%s", (unsigned long long)from,
                   (unsigned long long)limit, address);
    listing = listing_new(request);
    err = listing ? survey_node(&call->clerk->surveys, slice_of(node),
                                slice_make(question, (size_t)len), &list_calls, listing)
                  : ERR_NOMEM;
    if (!err)
        return;
    if (listing)
        listing_free(listing);
    answer_not_asked(request, err);
}

/* ---- ending ---- */

static void on_ended(void *arg, uint32_t missing)
{
    struct listing *listing = arg;

    if (listing->ended)
        web_answer(listing->request, &(struct web_answer){ .status = 204 });
    else if (missing)
        clerk_answer_problem(listing->request, 404, "not-found",
                             "the worker of this session does not live, or does not answer");
    else
        clerk_answer_problem(listing->request, 404, "not-found", "there is no such session");
    listing_free(listing);
}

static const struct survey_calls end_calls = { on_answered, on_ended };

void clerk_sessions_end(const struct clerk_call *call)
{
    const char *id = call->params->text[0], *slash = strrchr(id, '/');
    struct place place;
    char question[QUESTION_MAX];
    struct listing *listing;
    enum err err;
    int len;

    if (!slash || !place_parse(slice_make(id, (size_t)(slash - id)), &place)) {
        answer_bad(call->request, "the id of a session is NODE:WORKER:RUN/NUMBER, percent-encoded");
        return;
    }
    len = snprintf(question, sizeof question, "end\n%s\n%s", slash + 1, clerk_caller(call));
    listing = listing_new(call->request);
    err = listing && len < (int)sizeof question
              ? survey_one(&call->clerk->surveys, slice_make(id, (size_t)(slash - id)),
                           slice_make(question, (size_t)len), &end_calls, listing)
              : ERR_NOMEM;
    if (!err) {
        clerk_log_change(call, "session_end", id);
        return;
    }
    if (listing)
        listing_free(listing);
    answer_not_asked(call->request, err);
}
