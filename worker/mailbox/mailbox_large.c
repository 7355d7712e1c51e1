#include "worker/mailbox/mailbox_large.h"

#include "common/utf8.h"
#include "worker/mailbox/mailbox_answer.h"
#include "worker/mailbox/mailbox_body.h"

#include <stdlib.h>

/* The page's next command. */
static enum err large_put(struct call *call, op_finish finish, const struct op *like)
{
    call->wanted = like->wanted;
    call->seat = like->seat;
    call->account = like->account;
    return call_put(call, finish, like->done, like->arg);
}

static void large_failed(struct op *op)
{
    mailbox_pages_answered(op, &(struct mailbox_page){ .ok = false });
}

/* ---- a body that several mailboxes share ---- */

/* An entry while its body is read. The texts lie behind the record. */
struct large_entry {
    struct mailbox_entry entry;
    op_done done;
    void *arg;
    char text[];
};

static struct slice copy_text(char **at, struct slice text)
{
    struct slice copy = slice_make(*at, text.len);

    if (text.len)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static struct large_entry *large_entry_new(const struct op *op, const struct mailbox_entry *entry)
{
    struct large_entry *held =
        malloc(sizeof *held + entry->from.len + entry->id.len + entry->skip_device.len);
    char *at;

    if (!held)
        return NULL;
    *held = (struct large_entry){ .entry = *entry, .done = op->done, .arg = op->arg };
    at = held->text;
    held->entry.from = copy_text(&at, entry->from);
    held->entry.id = copy_text(&at, entry->id);
    held->entry.skip_device = copy_text(&at, entry->skip_device);
    return held;
}

/* Something else than a text may stand under the body's name, as foreign hands left there. */
static bool is_of_another_type(const struct redis_reply *reply)
{
    return reply->type == REDIS_ERROR && slice_starts(reply->text, SLICE("WRONGTYPE"));
}

static void body_fill(struct mailbox *mailbox, struct large_entry *held, struct mailbox_page *page,
                      const struct redis_reply *reply)
{
    bool is_text = reply->type == REDIS_STRING, is_none = reply->type == REDIS_NIL;

    page->ok = is_text || is_none || is_of_another_type(reply);
    if (is_text && reply->text.len > 0 && reply->text.data[0] == '{') {
        held->entry.body = reply->text;
        page->count = utf8_valid(reply->text);
        mailbox->counts.bad += page->count == 0;
    } else if (page->ok) {
        page->gone = 1;
        mailbox->counts.bodies_gone++;
    }
}

static void on_body(struct op *op, const struct redis_reply *reply)
{
    struct large_entry *held = op->arg;
    struct mailbox_page page = { .entries = &held->entry, .last = held->entry.seq };

    op->done = held->done;
    op->arg = held->arg;
    if (reply)
        body_fill(op->mailbox, held, &page, reply);
    mailbox_pages_answered(op, &page);
    free(held);
}

static void body_ask(struct op *op, const struct mailbox_entry *entry)
{
    struct op like = *op;
    struct call call;

    like.arg = large_entry_new(op, entry);
    if (!like.arg) {
        large_failed(op);
        return;
    }
    call_plain(&call, op->mailbox, SLICE("GET"));
    mailbox_body_add_key(&call, entry->body);
    if (large_put(&call, on_body, &like)) {
        free(like.arg);
        large_failed(op);
    }
}

/* ---- the entry ---- */

enum { RANGE_END = 3 };

/* A list of one entry, or of none. Without an entry, RANGE_END tells why: the beginning of the log
 * ("-") was reached, or the message of this position has gone from the log. */
static void on_entry(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_page page = { .ok = reply && reply->type == REDIS_ARRAY };
    struct mailbox_entry entry;

    if (page.ok && reply->count > 0) {
        struct redis_reply element = redis_reply_at(reply, 0);
        page.ok = mailbox_answer_seq(&element, 0, &page.last);
        if (!mailbox_entry_parse(&element, &entry)) {
            op->mailbox->counts.bad++;
        } else if (entry.body.data[0] == '@') {
            body_ask(op, &entry);
            return;
        } else {
            page.entries = &entry;
            page.count = 1;
        }
    } else {
        page.end = page.ok && !seq_parse(op->args[RANGE_END], &page.last);
    }
    mailbox_pages_answered(op, &page);
}

/* ---- the position ---- */

static enum err thread_entry_put(struct op *op, struct slice seq)
{
    struct call call;

    call_plain(&call, op->mailbox, SLICE("XRANGE"));
    call_key(&call, op->args[CALL_FIRST_KEY]);
    call_add(&call, seq);
    call_add(&call, seq);
    return large_put(&call, on_entry, op);
}

/* MORE, and the position of the thread's next message, or "". */
static void on_thread_position(struct op *op, const struct redis_reply *reply)
{
    struct redis_reply position = { .type = REDIS_NIL };

    if (mailbox_answer_number(reply, 0) >= 0 && reply->count > 1)
        position = redis_reply_at(reply, 1);
    if (position.type != REDIS_STRING)
        large_failed(op);
    else if (position.text.len == 0)
        mailbox_pages_answered(op, &(struct mailbox_page){ .ok = true, .end = true });
    else if (thread_entry_put(op, position.text))
        large_failed(op);
}

static enum err thread_position_put(struct mailbox *mailbox, const struct page_request *request,
                                    const struct op *like)
{
    char room[THREAD_KEY_MAX];
    struct call call;

    call_script(&call, mailbox, SCRIPT_THREAD);
    call_keys(&call, request->address, CALL_KEYS(":box", ":ids", ":th"));
    call_add(&call, mailbox_thread_key(request->thread, room));
    if (seq_is_zero(request->position))
        call_add(&call, SLICE(""));
    else
        call_add_seq(&call, request->position);
    call_add_int(&call, 1);
    call_add_int(&call, 0);
    return large_put(&call, on_thread_position, like);
}

enum err mailbox_large_put(struct mailbox *mailbox, const struct page_request *request,
                           const struct op *like)
{
    struct call call;

    if (request->thread.len)
        return thread_position_put(mailbox, request, like);
    call_plain(&call, mailbox, SLICE("XREVRANGE"));
    call_keys(&call, request->address, CALL_KEYS(":box"));
    if (seq_is_zero(request->position))
        call_add(&call, SLICE("+"));
    else
        call_add_seq(&call, seq_previous(request->position));
    call_add(&call, SLICE("-"));
    call_add(&call, SLICE("COUNT"));
    call_add_int(&call, 1);
    return large_put(&call, on_entry, like);
}
