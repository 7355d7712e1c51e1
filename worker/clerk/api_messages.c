/*
 * POST /api/v1/messages: one envelope, or an array of them; DELETE /api/v1/messages/FROM/ID: a
 * recall.
 *
 * A batch goes through a desk of its own, so rights, stamps, storing and the order of answers are
 * those of any session. An envelope without an id gets one here, before the router does, so that
 * the answer, which names the id, finds its item. The answers lie in the batch until all are there.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/utf8.h"
#include "worker/clerk/desk.h"
#include "worker/envelope/envelope.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ITEMS_MAX = 1000,
    SEND_STEP = 64, /* messages of a batch in a turn */
    PATIENCE_MS = 60 * 1000,
    ANSWER_MAX = 64 << 20,
    KEY_MAX = ENVELOPE_ID_MAX - 6, /* "-999" fits behind */
    COMMAND_MAX = 4096,
};

struct item {
    char id[ENVELOPE_ID_MAX + 1];
    char *answer; /* JSON, the members of the answer without braces; NULL: none yet */
    int status;   /* of HTTP, for a message that comes alone */
    bool at_once; /* the router has answered at once */
};

struct batch {
    LIST_ENTRY(batch) link;
    struct clerk *clerk;
    struct web_request *request;
    struct desk *desk;
    struct json_walk walk; /* over the body's array */
    struct json_value lone;
    uint64_t due_ms;
    uint32_t count, sent, answered;
    bool is_array, ended, is_recall;
    char *command;         /* the text of `lone` when that is a command made here */
    char key[KEY_MAX + 1]; /* Idempotency-Key; "" : none */
    struct item items[];
};

/* ---- answers ---- */

static int status_of(struct slice code)
{
    static const struct {
        const char *code;
        int status;
    } statuses[] = {
        { "too-large", 413 },           { "forbidden-from", 403 }, { "forbidden-to", 403 },
        { "bad-token", 403 },           { "rate-limited", 429 },   { "mailbox-full", 507 },
        { "storage-unavailable", 503 }, { "not-found", 404 },      { "internal", 500 },
    };

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (slice_equal(code, slice_of(statuses[i].code)))
            return statuses[i].status;
    return 400;
}

/* The members of a message from postmaster that an answer needs. */
struct said {
    struct json_value subject, in_reply_to, code;
    struct buf members;
};

static void take_member(void *arg, const struct json_member *member)
{
    static const char *const carried[] = { "code",       "message", "field",    "state",
                                           "retryAfter", "refused", "recalled", "notRecalled" };
    struct said *said = arg;

    if (json_key_equal(&member->key, SLICE("subject")))
        said->subject = member->value;
    if (json_key_equal(&member->key, SLICE("inReplyTo")))
        said->in_reply_to = member->value;
    if (json_key_equal(&member->key, SLICE("code")))
        said->code = member->value;
    for (size_t i = 0; i < sizeof carried / sizeof carried[0]; i++)
        if (json_key_equal(&member->key, slice_of(carried[i]))) {
            buf_add_char(&said->members, ',');
            buf_add_slice(&said->members, member->span);
        }
}

static bool is_meant(const struct item *item, const struct json_value *id)
{
    if (item->answer)
        return false;
    return id->text.len ? json_key_equal(id, slice_of(item->id)) : item->at_once;
}

/* The item that an answer with this inReplyTo is for. Without one (the id could not be read) the
 * answer is a rejection, and these come at once and in order. */
static struct item *item_of(struct batch *batch, const struct json_value *id)
{
    for (uint32_t i = batch->answered; i < batch->sent; i++)
        if (is_meant(&batch->items[i], id))
            return &batch->items[i];
    for (uint32_t i = 0; i < batch->sent; i++)
        if (is_meant(&batch->items[i], id))
            return &batch->items[i];
    return NULL;
}

/* Notes the answer of an item. members: ",\"name\":value" each. */
static void answer_item(struct batch *batch, struct item *item, const char *outcome,
                        int http_status, struct slice members)
{
    struct buf out;

    buf_init(&out, ANSWER_MAX);
    buf_add_text(&out, "\"id\":");
    json_add_string(&out, slice_of(item->id));
    buf_addf(&out, ",\"outcome\":\"%s\"", outcome);
    buf_add_slice(&out, members);
    buf_add_char(&out, 0);
    if (out.failed) {
        buf_fini(&out);
        batch->ended = true;
        return;
    }
    item->answer = out.data; /* the item's from here on */
    item->status = http_status;
    batch->answered++;
}

/* Codes have no escapes. */
static struct slice string_inside(const struct json_value *value)
{
    return value->text.len < 2 ? value->text
                               : slice_make(value->text.data + 1, value->text.len - 2);
}

static void on_said(void *arg, struct slice text)
{
    struct batch *batch = arg;
    struct said said = { .subject = { .type = JSON_NULL } };
    struct json_value value;
    struct json_fault fault;
    struct item *item;

    buf_init(&said.members, ANSWER_MAX);
    if (json_check_members(text, JSON_DEPTH_LIMIT, &value, &fault, take_member, &said) == OK &&
        (item = item_of(batch, &said.in_reply_to))) {
        if (json_key_equal(&said.subject, SLICE("accepted")))
            answer_item(batch, item, "accepted", 202, buf_slice(&said.members));
        else if (json_key_equal(&said.subject, SLICE("rejected")))
            answer_item(batch, item, "rejected", status_of(string_inside(&said.code)),
                        buf_slice(&said.members));
        else if (json_key_equal(&said.subject, SLICE("result")))
            answer_item(batch, item, "done", 200, buf_slice(&said.members));
    }
    buf_fini(&said.members);
}

static void on_ended(void *arg)
{
    ((struct batch *)arg)->ended = true;
}

static const struct desk_calls desk_calls = { .said = on_said, .ended = on_ended };

/* ---- the end of a batch ---- */

static void add_members(struct buf *out, const struct item *item)
{
    if (item->answer) {
        buf_add_text(out, item->answer);
    } else {
        buf_add_text(out, "\"id\":");
        json_add_string(out, slice_of(item->id));
        buf_add_text(out,
                     ",\"outcome\":\"unknown\",\"code\":\"internal\",\"message\":\"the outcome is "
                     "not known: send the message again with the same id\"");
    }
}

static void add_items(struct buf *out, const struct batch *batch)
{
    buf_add_text(out, "{\"results\":[");
    for (uint32_t i = 0; i < batch->count; i++) {
        buf_add_text(out, i ? ",{" : "{");
        add_members(out, &batch->items[i]);
        buf_add_char(out, '}');
    }
    buf_add_text(out, "]}\n");
}

/* One message alone: its outcome is the status of HTTP. */
static void answer_lone(struct batch *batch, struct buf *out)
{
    const struct item *item = &batch->items[0];
    int status = item->answer ? item->status : 504;

    buf_add_char(out, '{');
    if (status >= 400)
        buf_addf(out, "\"type\":\"about:blank\",\"status\":%d,", status);
    add_members(out, item);
    buf_add_text(out, "}\n");
    if (status >= 400)
        clerk_answer_problem_json(batch->request, status, out);
    else
        clerk_answer_json(batch->request, status, out);
}

static void finish(struct batch *batch)
{
    struct buf out;

    buf_init(&out, ANSWER_MAX);
    if (batch->is_array) {
        add_items(&out, batch);
        clerk_answer_json(batch->request, 200, &out);
    } else {
        answer_lone(batch, &out);
    }
    buf_fini(&out);
    LIST_REMOVE(batch, link);
    desk_close(batch->desk);
    for (uint32_t i = 0; i < batch->count; i++)
        free(batch->items[i].answer);
    free(batch->command);
    free(batch);
}

/* ---- sending ---- */

/* The members of an envelope that matter before the router reads it. */
struct glance {
    struct json_value id, type, to;
};

static void take_glance(void *arg, const struct json_member *member)
{
    struct glance *glance = arg;

    if (json_key_equal(&member->key, SLICE("id")))
        glance->id = member->value;
    if (json_key_equal(&member->key, SLICE("type")))
        glance->type = member->value;
    if (json_key_equal(&member->key, SLICE("to")))
        glance->to = member->value;
}

/* Commands are for sessions: the API has paths of its own. */
static bool is_to_postmaster(const struct json_value *to)
{
    struct json_walk walk;
    struct json_value element;

    if (to->type == JSON_STRING)
        return json_key_equal(to, SLICE("postmaster"));
    if (to->type != JSON_ARRAY)
        return false;
    json_walk_begin(&walk, to);
    while (json_walk_element(&walk, &element))
        if (element.type == JSON_STRING && json_key_equal(&element, SLICE("postmaster")))
            return true;
    return false;
}

static void reject_item(struct batch *batch, struct item *item, int status, const char *code,
                        const char *message)
{
    char members[512];
    int len = snprintf(members, sizeof members, ",\"code\":\"%s\",\"message\":\"%s\",\"state\":9",
                       code, message);

    answer_item(batch, item, "rejected", status, slice_make(members, (size_t)len));
}

/* The id of the n-th message: its own, else from Idempotency-Key, else a new one. False: its own is
 * no id, which the router says better. */
static bool choose_id(const struct batch *batch, uint32_t n, const struct glance *glance,
                      struct item *item)
{
    uint8_t random[10];

    if (glance->id.type == JSON_STRING && glance->id.text.len <= ENVELOPE_ID_MAX + 2) {
        size_t len = json_unescape(&glance->id, item->id);
        item->id[len] = 0;
        return true;
    }
    if (glance->id.type != JSON_NULL || glance->id.text.len)
        return false;
    if (batch->key[0] && batch->is_array) {
        snprintf(item->id, sizeof item->id, "%s-%u", batch->key, (uint16_t)n);
    } else if (batch->key[0]) {
        snprintf(item->id, sizeof item->id, "%s", batch->key);
    } else {
        token_random(random, sizeof random);
        envelope_uuid7(item->id, clock_unix_ms(), random);
    }
    return true;
}

/* Puts the id in front of the other members. */
static void add_id(struct buf *out, const struct item *item, struct slice envelope)
{
    const char *rest = (const char *)memchr(envelope.data, '{', envelope.len) + 1;
    size_t rest_len = envelope.len - (size_t)(rest - envelope.data);
    const char *at = rest;

    buf_add_text(out, "{\"id\":");
    json_add_string(out, slice_of(item->id));
    while (at < envelope.data + envelope.len &&
           (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    if (at < envelope.data + envelope.len && *at != '}')
        buf_add_char(out, ',');
    buf_add(out, rest, rest_len);
}

static bool is_signal(const struct glance *glance)
{
    int64_t type;

    return glance->type.type == JSON_NUMBER && json_int(&glance->type, &type) &&
           type == TYPE_SIGNAL;
}

/* A signal has no answer: what the router says at once is a rejection. */
static void give_to_router(struct batch *batch, struct item *item, const struct glance *glance,
                           struct slice envelope)
{
    bool answered = false;

    if (!desk_send(batch->desk, envelope, &answered))
        batch->ended = true;
    else if ((item->at_once = answered))
        return;
    else if (is_signal(glance))
        answer_item(batch, item, "sent", 202, SLICE(""));
}

static void send_item(struct batch *batch, const struct json_value *element)
{
    int64_t bytes_max = batch->clerk->office->config->limits.message_bytes;
    uint32_t n = batch->sent++;
    struct item *item = &batch->items[n];
    struct glance glance = { .id = { .type = JSON_NULL } };
    struct json_value value;
    struct json_fault fault;
    struct buf text;

    snprintf(item->id, sizeof item->id, "#%u", n); /* of what is no envelope at all */
    if (element->type != JSON_OBJECT || json_check_members(element->text, ENVELOPE_DEPTH_MAX,
                                                           &value, &fault, take_glance, &glance)) {
        reject_item(batch, item, 400, "bad-json",
                    "an envelope is an object, nested 32 deep at most");
        return;
    }
    if (!choose_id(batch, n, &glance, item)) {
        reject_item(batch, item, 400, "bad-field", "id: a string of 1 to 64 bytes");
        return;
    }
    if (is_to_postmaster(&glance.to) && !batch->is_recall) {
        reject_item(batch, item, 400, "bad-field", "to: commands are for sessions");
        return;
    }
    if (element->text.len > (size_t)bytes_max) {
        reject_item(batch, item, 413, "too-large", "longer than limits.messageBytes");
        return;
    }
    if (glance.id.text.len) {
        give_to_router(batch, item, &glance, element->text);
        return;
    }
    buf_init(&text, (size_t)bytes_max + COMMAND_MAX);
    add_id(&text, item, element->text);
    if (text.failed)
        batch->ended = true;
    else
        give_to_router(batch, item, &glance, buf_slice(&text));
    buf_fini(&text);
}

/* Sends as much as there is room for. Returns whether the batch is over. */
static bool step(struct batch *batch, uint64_t now_ms)
{
    struct json_value element;

    for (unsigned i = 0;
         i < SEND_STEP && batch->sent < batch->count && !batch->ended && desk_may_send(batch->desk);
         i++) {
        if (!batch->is_array)
            element = batch->lone;
        else
            json_walk_element(&batch->walk, &element);
        send_item(batch, &element);
    }
    if (batch->sent < batch->count && !batch->ended && desk_may_send(batch->desk))
        loop_again(batch->clerk->office->loop);
    return batch->ended || batch->answered == batch->count || now_ms >= batch->due_ms;
}

void clerk_messages_turn(struct clerk *clerk)
{
    uint64_t now_ms = loop_now_ms(clerk->office->loop);
    struct batch *batch, *next;

    for (batch = LIST_FIRST(&clerk->batches); batch; batch = next) {
        next = LIST_NEXT(batch, link);
        if (step(batch, now_ms))
            finish(batch);
    }
}

void clerk_messages_free(struct clerk *clerk)
{
    struct batch *batch;

    while ((batch = LIST_FIRST(&clerk->batches)))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see what LIST_REMOVE does */
        finish(batch);
}

/* ---- beginning ---- */

/* docs/protocol.md section 2.2, `id`. */
static bool is_id_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("._:-", c));
}

/* A key is 1 to 58 bytes of those that an id may have, so that "-999" fits behind. False:
 * answered. */
static bool take_key(const struct clerk_call *call, char key[KEY_MAX + 1])
{
    bool twice;
    struct slice text = web_header(call->request, SLICE("idempotency-key"), &twice);

    key[0] = 0;
    if (!text.data)
        return true;
    /* The draft of the header writes a structured string, in quotes; most clients write none. */
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
        text = slice_make(text.data + 1, text.len - 2);
    for (size_t i = 0; i < text.len; i++)
        twice |= !is_id_byte(text.data[i]);
    if (twice || text.len == 0 || text.len > KEY_MAX) {
        clerk_answer_problem(call->request, 400, "bad-field",
                             "Idempotency-Key: 1 to 58 of A-Z a-z 0-9 . _ : -, once");
        return false;
    }
    memcpy(key, text.data, text.len);
    key[text.len] = 0;
    return true;
}

static uint32_t count_elements(const struct json_value *array)
{
    struct json_walk walk;
    struct json_value element;
    uint32_t count = 0;

    json_walk_begin(&walk, array);
    while (count <= ITEMS_MAX && json_walk_element(&walk, &element))
        count++;
    return count;
}

/* An operator's desk has no limits; a token's has those of its address. */
static struct desk *open_desk(const struct clerk_call *call, struct batch *batch)
{
    bool is_operator = !call->grant || call->grant->admin;
    struct grant *grant = is_operator ? grant_operator() : grant_ref(call->grant);
    struct desk *desk;

    if (!grant)
        return NULL;
    desk = desk_open(call->clerk->office, grant, is_operator, &desk_calls, batch);
    grant_unref(grant);
    return desk;
}

/* Begins a batch for the body's value. */
static struct batch *begin_batch(const struct clerk_call *call, uint32_t count)
{
    struct batch *batch = calloc(1, sizeof *batch + count * sizeof batch->items[0]);

    if (!batch)
        return NULL;
    batch->clerk = call->clerk;
    batch->request = call->request;
    batch->count = count;
    batch->due_ms = loop_now_ms(call->clerk->office->loop) + PATIENCE_MS;
    batch->desk = open_desk(call, batch);
    if (!batch->desk) {
        free(batch);
        return NULL;
    }
    LIST_INSERT_HEAD(&call->clerk->batches, batch, link);
    loop_again(call->clerk->office->loop);
    return batch;
}

static void answer_no_memory(const struct clerk_call *call)
{
    clerk_answer_problem(call->request, 503, "internal", "out of memory or descriptors");
}

void clerk_messages_post(const struct clerk_call *call)
{
    struct slice body = call->request->body;
    struct json_value value;
    struct json_fault fault = { .reason = "not UTF-8" };
    char key[KEY_MAX + 1], why[256];
    struct batch *batch;
    struct log_text who;
    uint32_t count = 1;

    if (!take_key(call, key))
        return;
    if (!utf8_valid(body) || json_check(body, ENVELOPE_DEPTH_MAX + 1, &value, &fault)) {
        snprintf(why, sizeof why, "the body is not JSON, at byte %zu: %s", fault.offset,
                 fault.reason);
        clerk_answer_problem(call->request, 400, "bad-json", why);
        return;
    }
    if (value.type == JSON_ARRAY)
        count = count_elements(&value);
    if ((value.type != JSON_ARRAY && value.type != JSON_OBJECT) || count == 0 ||
        count > ITEMS_MAX) {
        clerk_answer_problem(call->request, 400, "bad-json",
                             "an envelope, or an array of 1 to 1000 envelopes");
        return;
    }
    batch = begin_batch(call, count);
    if (!batch) {
        answer_no_memory(call);
        return;
    }
    batch->is_array = value.type == JSON_ARRAY;
    batch->lone = value;
    if (batch->is_array)
        json_walk_begin(&batch->walk, &value);
    memcpy(batch->key, key, sizeof key);
    /* Each message is a change, and a backend sends thousands. */
    log_debug("admin_change", "what=send messages=%u by=%s", count,
              log_quote(&who, slice_of(clerk_caller(call))));
}

void clerk_messages_recall(const struct clerk_call *call)
{
    struct batch *batch;
    struct json_value value;
    struct json_fault fault;
    struct buf out;
    char on[2 * CLERK_PARAM_MAX];

    buf_init(&out, COMMAND_MAX);
    buf_add_text(&out, "{\"from\":");
    json_add_string(&out, slice_of(call->params->text[0]));
    buf_add_text(&out, ",\"to\":[\"postmaster\"],\"subject\":\"recall\",\"type\":4,\"inReplyTo\":");
    json_add_string(&out, slice_of(call->params->text[1]));
    buf_add_char(&out, '}');
    batch =
        out.failed || json_check(buf_slice(&out), 4, &value, &fault) ? NULL : begin_batch(call, 1);
    if (!batch) {
        buf_fini(&out);
        answer_no_memory(call);
        return;
    }
    batch->command = out.data; /* the batch's from here on */
    batch->lone = value;
    batch->is_recall = true;
    snprintf(on, sizeof on, "%s %s", call->params->text[0], call->params->text[1]);
    clerk_log_change(call, "recall", on);
}
