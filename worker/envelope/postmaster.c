#include "worker/envelope/postmaster.h"

#include "common/clock.h"
#include "common/json.h"
#include "config/config.h"

#include <assert.h>

/* No answer needs more: the longest is the `result` of a `history` with one message of
 * limits.messageBytes (64 MiB at most) and a page of others. */
enum { ANSWER_BYTES_MAX = 68 << 20, KEPT_BYTES_MAX = 64 << 10 };

/* One buffer for all answers, so that an answer costs one allocation: its message. */
static struct buf text = { .size_max = ANSWER_BYTES_MAX };
static bool in_making; /* between postmaster_begin and postmaster_end: text is taken */

static void add_text_member(const char *name, struct slice value)
{
    buf_add_text(&text, ",\"");
    buf_add_text(&text, name);
    buf_add_text(&text, "\":");
    json_add_string(&text, value);
}

static void add_int_member(const char *name, int64_t value)
{
    buf_add_text(&text, ",\"");
    buf_add_text(&text, name);
    buf_add_text(&text, "\":");
    buf_add_int(&text, value);
}

static void add_seq_member(const char *name, struct seq seq)
{
    char digits[SEQ_TEXT_MAX];
    size_t len = seq_format(digits, seq);

    add_text_member(name, slice_make(digits, len));
}

struct buf *postmaster_begin(struct slice to, const char *subject)
{
    assert(!in_making); /* a second answer would be written into the first */
    in_making = true;
    buf_reset(&text);
    buf_add_slice(&text, SLICE("{\"from\":\"postmaster\",\"to\":["));
    json_add_string(&text, to);
    buf_add_slice(&text, SLICE("],\"subject\":\""));
    buf_add_text(&text, subject);
    buf_add_slice(&text, SLICE("\",\"content\":\"\",\"type\":4"));
    add_int_member("createTime", clock_unix_s());
    return &text;
}

struct buf *postmaster_begin_result(struct slice to, struct slice id)
{
    postmaster_begin(to, "result");
    if (id.len)
        add_text_member("inReplyTo", id);
    return &text;
}

struct msg *postmaster_end(enum msg_kind kind)
{
    struct msg *msg;

    assert(in_making);
    in_making = false;
    buf_add_char(&text, '}');
    msg = text.failed ? NULL : msg_new(buf_slice(&text), kind, 0);
    if (text.size > KEPT_BYTES_MAX)
        buf_fini(&text); /* the memory of a rare large answer is not kept */
    return msg;
}

struct msg *postmaster_welcome(const struct postmaster_welcome *welcome)
{
    const struct config *config = welcome->config;

    postmaster_begin(welcome->address, "welcome");
    buf_addf(&text, ",\"session\":\"%u-%llx\"", welcome->worker,
             (unsigned long long)welcome->session);
    add_text_member("node", slice_of(welcome->node));
    add_int_member("worker", welcome->worker);
    add_text_member("address", welcome->address);
    add_text_member("device", welcome->device);
    add_seq_member("seq", welcome->last);
    add_seq_member("cursor", welcome->cursor);
    add_text_member("epoch", slice_of(welcome->epoch));
    buf_add_text(&text, welcome->recovered ? ",\"recovered\":true" : ",\"recovered\":false");
    if (welcome->service)
        buf_add_text(&text, ",\"service\":true");
    add_int_member("heartbeat", config->limits.ping_s);
    buf_addf(&text,
             ",\"limits\":{\"messageBytes\":%lld,\"recipients\":%lld,\"messagesPerSecond\":%lld,"
             "\"burst\":%lld,\"queueBytes\":%lld}",
             (long long)config->limits.message_bytes, (long long)config->limits.recipients,
             (long long)config->limits.messages_per_s, (long long)config->limits.burst,
             (long long)config->limits.queue_bytes);
    return postmaster_end(MSG_ANSWER);
}

static void add_refused(const struct postmaster_refusal *refused, size_t count)
{
    if (count == 0)
        return;
    buf_add_text(&text, ",\"refused\":[");
    for (size_t i = 0; i < count; i++) {
        buf_add_text(&text, i ? ",{\"address\":" : "{\"address\":");
        json_add_string(&text, refused[i].address);
        buf_addf(&text, ",\"code\":\"%s\"}", envelope_reject_text(refused[i].code));
    }
    buf_add_char(&text, ']');
}

struct msg *postmaster_accepted(struct slice to, struct slice id, int state,
                                const struct postmaster_refusal *refused, size_t refused_count)
{
    postmaster_begin(to, "accepted");
    add_text_member("inReplyTo", id);
    add_int_member("state", state);
    add_refused(refused, refused_count);
    return postmaster_end(MSG_ANSWER);
}

struct msg *postmaster_rejected(struct slice to, const struct postmaster_rejection *rejection)
{
    postmaster_begin(to, "rejected");
    add_text_member("code", slice_of(envelope_reject_text(rejection->code)));
    add_text_member("message", slice_of(rejection->message));
    if (rejection->id.data)
        add_text_member("inReplyTo", rejection->id);
    if (rejection->field)
        add_text_member("field", slice_of(rejection->field));
    if (rejection->retry_after_ms)
        add_int_member("retryAfter", rejection->retry_after_ms);
    add_int_member("state", 9);
    add_refused(rejection->refused, rejection->refused_count);
    return postmaster_end(MSG_ANSWER);
}

struct msg *postmaster_goodbye(struct slice to, uint16_t code, const char *message,
                               uint32_t retry_after_ms)
{
    postmaster_begin(to, "goodbye");
    add_int_member("code", code);
    add_text_member("message", slice_of(message));
    if (retry_after_ms)
        add_int_member("retryAfter", retry_after_ms);
    return postmaster_end(MSG_LAST);
}

struct msg *postmaster_replayed(struct slice to, struct seq seq)
{
    postmaster_begin(to, "replayed");
    add_seq_member("seq", seq);
    return postmaster_end(MSG_MAIL);
}
