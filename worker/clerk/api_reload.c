/*
 * POST /api/v1/reload: the master reads the configuration again, as for SIGHUP; with ?plan=1 the
 * master only says what that would change.
 *
 * The master alone can reload, and takes a question of one frame from the clerk. One request is
 * under way at a time. A master that does not answer in PATIENCE_MS is waited for no longer: an
 * answer that comes later has an old number and is dropped.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/control.h"

enum { PATIENCE_MS = 30 * 1000, ANSWER_MAX = 1 << 20 };

/* The value of ?plan: 0, 1, or absent. False: answered. */
static bool take_plan(const struct clerk_call *call, bool *is_plan)
{
    char text[CLERK_PARAM_MAX];
    bool is_bad, is_given = clerk_query(call->request, "plan", text, &is_bad);

    *is_plan = is_given && strcmp(text, "1") == 0;
    if (!is_bad && (!is_given || *is_plan || strcmp(text, "0") == 0))
        return true;
    clerk_answer_problem(call->request, 400, "bad-field", "plan: 0 or 1");
    return false;
}

void clerk_reload_post(const struct clerk_call *call)
{
    struct clerk *clerk = call->clerk;
    struct control_reload order = { .number = clerk->reload.number + 1 };
    bool is_plan;

    if (!take_plan(call, &is_plan))
        return;
    if (clerk->reload.request) {
        clerk_answer_problem(call->request, 409, "conflict", "another reload is under way");
        return;
    }
    order.is_plan = is_plan;
    if (control_send(clerk->control_fd, CONTROL_RELOAD, slice_make(&order, sizeof order))) {
        clerk_answer_problem(call->request, 503, "busy", "the master takes no question now");
        return;
    }
    if (!is_plan)
        clerk_log_change(call, "reload", "the configuration");
    clerk->reload =
        (struct reload_call){ .request = call->request,
                              .number = order.number,
                              .due_ms = loop_now_ms(clerk->office->loop) + PATIENCE_MS };
}

/* Takes the request that waits: the caller answers. */
static struct web_request *take_waiting(struct clerk *clerk)
{
    struct web_request *request = clerk->reload.request;

    clerk->reload.request = NULL;
    return request;
}

static void answer_done(struct web_request *request, struct slice members)
{
    struct buf out;

    buf_init(&out, ANSWER_MAX);
    buf_add_char(&out, '{');
    buf_add_slice(&out, members);
    buf_add_text(&out, "}\n");
    clerk_answer_json(request, 200, &out);
    buf_fini(&out);
}

static void answer_refused(struct web_request *request, struct slice members)
{
    struct buf out;

    buf_init(&out, ANSWER_MAX);
    buf_add_text(&out,
                 "{\"type\":\"about:blank\",\"status\":422,\"code\":\"bad-config\",\"detail\":"
                 "\"the configuration is not valid: everything stays as it was\",");
    buf_add_slice(&out, members);
    buf_add_text(&out, "}\n");
    clerk_answer_problem_json(request, 422, &out);
    buf_fini(&out);
}

void clerk_reloaded(struct clerk *clerk, struct slice payload)
{
    struct control_reloaded head;
    struct slice members;
    struct web_request *request;

    if (payload.len < sizeof head)
        return;
    memcpy(&head, payload.data, sizeof head);
    if (head.number != clerk->reload.number || !(request = take_waiting(clerk)))
        return;
    members = slice_make(payload.data + sizeof head, payload.len - sizeof head);
    if (head.outcome == CONTROL_DONE)
        answer_done(request, members);
    else if (head.outcome == CONTROL_REFUSED)
        answer_refused(request, members);
    else
        clerk_answer_problem(request, 503, "draining", "the server stops");
}

static void answer_no_answer(struct clerk *clerk)
{
    struct web_request *request = take_waiting(clerk);

    if (request)
        clerk_answer_problem(request, 504, "no-answer",
                             "the master has not answered: the log says what became of it");
}

void clerk_reload_tick(struct clerk *clerk)
{
    if (clerk->reload.request && loop_now_ms(clerk->office->loop) >= clerk->reload.due_ms)
        answer_no_answer(clerk);
}

void clerk_reload_free(struct clerk *clerk)
{
    answer_no_answer(clerk);
}
