/*
 * GET /api/v1/messages/FROM/ID: the state of a message at each recipient.
 *
 * The recipients stand in the sender's log (worker/delivery/sent.h), which is searched as a recall
 * searches it: from the newest entry on, a bounded part at a time and in all. Each recipient's
 * mailbox is then asked, a few at a time.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/address.h"
#include "common/json.h"
#include "worker/mailbox/mailbox_admin.h"
#include "worker/mailbox/mailbox_receipts.h"

#include <stdlib.h>

enum {
    ID_MAX = 64,
    AT_ONCE = 4, /* mailboxes that are asked at a time: Redis reads the message in each */
    SEARCH_BYTES = 16 << 20, /* of the sender's log, in all */
    ANSWER_MAX = 32 << 20,
    RECIPIENTS_BYTES_MAX = 16 << 20,
};

struct state_task;

struct state_target {
    struct state_task *task;
    struct slice address; /* in task->recipients */
    struct mailbox_trace trace;
};

struct state_task {
    struct clerk_task task;
    char from[ADDRESS_BYTES_MAX + 1], id[ID_MAX + 1];
    uint64_t entries_searched, bytes_searched;
    struct buf recipients;
    struct state_target *targets;
    size_t count, next, waiting;
};

static void state_free(struct state_task *state)
{
    buf_fini(&state->recipients);
    free(state->targets);
    clerk_task_free(&state->task);
}

static struct mailbox *mailbox_of(const struct state_task *state)
{
    return state->task.clerk->office->mailbox;
}

/* ---- the answer ---- */

static const char *state_text(const struct mailbox_trace *trace)
{
    if (!seq_is_zero(trace->read))
        return "read";
    if (trace->state == MAILBOX_TRACE_DELIVERED || !seq_is_zero(trace->delivered))
        return "delivered";
    if (trace->state == MAILBOX_TRACE_STORED)
        return "stored";
    if (!seq_is_zero(trace->recalled))
        return "recalled";
    if (!seq_is_zero(trace->expired))
        return "expired";
    if (trace->state == MAILBOX_TRACE_REMOVED)
        return "removed"; /* recalled or expired, and no receipt says which */
    return trace->state == MAILBOX_TRACE_NONE ? "gone" : "unknown";
}

/* The time at which Redis gave a seq. */
static void add_time(struct buf *out, const char *name, struct seq seq)
{
    if (!seq_is_zero(seq))
        buf_addf(out, ",\"%s\":%llu", name, (unsigned long long)(seq.ms / 1000));
}

static void add_target(struct buf *out, const struct state_target *target)
{
    const struct mailbox_trace *trace = &target->trace;

    buf_add_text(out, "{\"address\":");
    json_add_string(out, target->address);
    buf_addf(out, ",\"state\":\"%s\"", state_text(trace));
    clerk_add_seq(out, "seq", trace->seq);
    add_time(out, "storedAt", trace->seq);
    add_time(out, "deliveredAt", trace->delivered);
    add_time(out, "readAt", trace->read);
    add_time(out, "recalledAt", trace->recalled);
    add_time(out, "expiredAt", trace->expired);
    if (trace->expires_at)
        buf_addf(out, ",\"expiresAt\":%lld", (long long)trace->expires_at);
    buf_add_char(out, '}');
}

static void answer_states(struct state_task *state)
{
    struct buf out;

    buf_init(&out, ANSWER_MAX);
    buf_add_text(&out, "{\"from\":");
    json_add_string(&out, slice_of(state->from));
    clerk_add_text(&out, "id", slice_of(state->id));
    buf_add_text(&out, ",\"recipients\":[");
    for (size_t i = 0; i < state->count; i++) {
        if (i)
            buf_add_char(&out, ',');
        add_target(&out, &state->targets[i]);
    }
    buf_add_text(&out, "]}\n");
    clerk_task_answer(&state->task, 200, &out);
    buf_fini(&out);
}

/* ---- the mailboxes ---- */

static void on_traced(void *arg, const struct mailbox_trace *trace);

static void ask_mailboxes(struct state_task *state)
{
    while (state->waiting < AT_ONCE && state->next < state->count && state->task.request) {
        struct state_target *target = &state->targets[state->next++];
        if (mailbox_trace(mailbox_of(state), target->address, slice_of(state->from),
                          slice_of(state->id), on_traced, target) == OK)
            state->waiting++;
        else
            target->trace.state = MAILBOX_TRACE_UNKNOWN;
    }
    if (state->waiting)
        return;
    answer_states(state);
    state_free(state);
}

static void on_traced(void *arg, const struct mailbox_trace *trace)
{
    struct state_target *target = arg;
    struct state_task *state = target->task;

    target->trace = *trace;
    state->waiting--;
    clerk_task_renew(&state->task);
    ask_mailboxes(state);
}

/* ---- the sender's log ---- */

static size_t count_lines(struct slice text)
{
    size_t count = text.len > 0;

    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '\n';
    return count;
}

static bool take_recipients(struct state_task *state, struct slice lines)
{
    const char *at, *end;

    buf_add_slice(&state->recipients, lines);
    state->targets = calloc(count_lines(lines) + 1, sizeof *state->targets);
    if (state->recipients.failed || !state->targets)
        return false;
    at = state->recipients.data;
    end = at + state->recipients.len;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((line_end ? line_end : end) - at);
        if (len)
            state->targets[state->count++] =
                (struct state_target){ .task = state, .address = slice_make(at, len) };
        at += len + 1;
    }
    return true;
}

static void on_searched(void *arg, const struct mailbox_sent *sent);

static bool search_on(struct state_task *state, struct seq before)
{
    clerk_task_renew(&state->task);
    return mailbox_find_sent(mailbox_of(state), slice_of(state->from), slice_of(state->id), before,
                             on_searched, state) == OK;
}

static bool may_search_on(struct state_task *state, const struct mailbox_sent *sent)
{
    const struct config *config = state->task.clerk->office->config;

    state->entries_searched += sent->entries;
    state->bytes_searched += sent->bytes;
    return sent->more && state->task.request && state->bytes_searched < SEARCH_BYTES &&
           state->entries_searched < (uint64_t)config->limits.recall_entries;
}

static void on_searched(void *arg, const struct mailbox_sent *sent)
{
    struct state_task *state = arg;

    if (sent->ok && sent->found && take_recipients(state, sent->recipients)) {
        clerk_task_renew(&state->task);
        ask_mailboxes(state);
        return;
    }
    if (sent->ok && !sent->found) {
        if (!may_search_on(state, sent))
            clerk_task_problem(&state->task, 404, "not-found",
                               sent->more
                                   ? "no message with this id is among the latest that were sent"
                                   : "no message with this id was sent");
        else if (search_on(state, sent->last))
            return;
    }
    state_free(state);
}

/* ---- the call ---- */

/* docs/protocol.md section 2.2, `id`: no white space, no control character. */
static bool is_id(struct slice text)
{
    if (text.len == 0 || text.len > ID_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] <= ' ')
            return false;
    return true;
}

void clerk_state_get(const struct clerk_call *call)
{
    struct slice from, id = slice_of(call->params->text[1]);
    struct state_task *state;

    if (!clerk_take_address(call, 0, &from))
        return;
    if (call->grant && !call->grant->admin && !grant_may_speak_for(call->grant, from)) {
        clerk_answer_problem(call->request, 403, "forbidden-from",
                             "the token does not speak for this address");
        return;
    }
    if (!is_id(id)) {
        clerk_answer_problem(call->request, 404, "not-found", "no message with this id was sent");
        return;
    }
    state = clerk_task_new(call, sizeof *state);
    if (!state)
        return;
    memcpy(state->from, from.data, from.len + 1);
    memcpy(state->id, id.data, id.len + 1);
    buf_init(&state->recipients, RECIPIENTS_BYTES_MAX);
    if (!search_on(state, (struct seq){ 0, 0 }))
        state_free(state);
}
