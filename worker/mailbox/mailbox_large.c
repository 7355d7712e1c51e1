#include "worker/mailbox/mailbox_large.h"

#include "common/utf8.h"
#include "worker/mailbox/mailbox_answer.h"
#include "worker/mailbox/mailbox_body.h"

#include <stdlib.h>

/* A page on its way: the arg of its commands. */
struct large_page {
    struct page_request request;
    struct mailbox_entry entry; /* whose shared body is read; the texts are in entry_text */
    char *entry_text;
    char text[]; /* of the request */
};

static void large_free(struct large_page *large)
{
    free(large->entry_text);
    free(large);
}

/* ---- the end ---- */

static void large_end(struct op *op, const struct mailbox_page *page)
{
    struct large_page *large = op->arg;

    op->done = (op_done)large->request.done;
    op->arg = large->request.arg;
    mailbox_pages_answered(op, page);
    large_free(large);
}

static void large_failed(struct op *op)
{
    large_end(op, &(struct mailbox_page){ .ok = false });
}

/* The message at hand is small: the script reads the page that the reader asked for. */
static void script_takes_over(struct op *op)
{
    struct large_page *large = op->arg;
    struct op like = *op;

    like.done = (op_done)large->request.done;
    like.arg = large->request.arg;
    if (mailbox_pages_put(op->mailbox, &large->request, &like))
        large_failed(op);
    else
        large_free(large);
}

static void entry_read(struct op *op, const struct mailbox_entry *entry)
{
    const struct large_page *large = op->arg;

    if (entry->body.len < MAILBOX_LARGE_BYTES_MIN && large->request.count > 1)
        script_takes_over(op);
    else
        large_end(op, &(struct mailbox_page){
                          .ok = true, .entries = entry, .count = 1, .last = entry->seq });
}

/* The page's next command. */
static enum err large_put(struct call *call, op_finish finish, const struct op *like)
{
    call->wanted = like->wanted;
    call->seat = like->seat;
    call->account = like->account;
    return call_put(call, finish, NULL, like->arg);
}

/* ---- a body that several mailboxes share ---- */

static struct slice move_text(char **at, struct slice text)
{
    struct slice copy = slice_make(*at, text.len);

    if (text.len)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static bool keep_entry(struct large_page *large, const struct mailbox_entry *entry)
{
    char *at = malloc(entry->from.len + entry->id.len + entry->skip_device.len + 1);

    if (!at)
        return false;
    large->entry_text = at;
    large->entry = *entry;
    large->entry.from = move_text(&at, entry->from);
    large->entry.id = move_text(&at, entry->id);
    large->entry.skip_device = move_text(&at, entry->skip_device);
    return true;
}

/* Something else than a text may stand under the body's name, as foreign hands left there. */
static bool is_of_another_type(const struct redis_reply *reply)
{
    return reply->type == REDIS_ERROR && slice_starts(reply->text, SLICE("WRONGTYPE"));
}

/* The entry is left out: its body is gone, or no text. */
static void end_without(struct op *op, uint64_t *counter, size_t gone)
{
    const struct large_page *large = op->arg;

    (*counter)++;
    large_end(op, &(struct mailbox_page){ .ok = true, .gone = gone, .last = large->entry.seq });
}

static void on_body(struct op *op, const struct redis_reply *reply)
{
    struct large_page *large = op->arg;
    bool is_text = reply && reply->type == REDIS_STRING;

    if (is_text && reply->text.len > 0 && reply->text.data[0] == '{') {
        large->entry.body = reply->text;
        if (utf8_valid(reply->text))
            entry_read(op, &large->entry);
        else
            end_without(op, &op->mailbox->counts.bad, 0);
    } else if (is_text || (reply && (reply->type == REDIS_NIL || is_of_another_type(reply)))) {
        end_without(op, &op->mailbox->counts.bodies_gone, 1);
    } else {
        large_failed(op);
    }
}

static void body_ask(struct op *op, const struct mailbox_entry *entry)
{
    struct call call;

    if (!keep_entry(op->arg, entry)) {
        large_failed(op);
        return;
    }
    call_plain(&call, op->mailbox, SLICE("GET"));
    mailbox_body_add_key(&call, entry->body);
    if (large_put(&call, on_body, op))
        large_failed(op);
}

/* ---- the entry ---- */

enum { RANGE_END = 3 };

/* Without an entry, RANGE_END tells why: the beginning of the log ("-") was reached, or the message
 * of this position has gone from the log. */
static void end_empty(struct op *op)
{
    struct mailbox_page page = { .ok = true };

    page.end = !seq_parse(op->args[RANGE_END], &page.last);
    large_end(op, &page);
}

/* A list of one entry, or of none. */
static void on_entry(struct op *op, const struct redis_reply *reply)
{
    struct redis_reply element;
    struct mailbox_entry entry;
    struct seq seq;

    if (!reply || reply->type != REDIS_ARRAY) {
        large_failed(op);
        return;
    }
    if (reply->count == 0) {
        end_empty(op);
        return;
    }
    element = redis_reply_at(reply, 0);
    if (!mailbox_answer_seq(&element, 0, &seq)) {
        large_failed(op);
    } else if (!mailbox_entry_parse(&element, &entry)) {
        op->mailbox->counts.bad++;
        large_end(op, &(struct mailbox_page){ .ok = true, .last = seq });
    } else if (entry.body.data[0] == '@') {
        body_ask(op, &entry);
    } else {
        entry_read(op, &entry);
    }
}

/* ---- the position in a thread ---- */

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
        large_end(op, &(struct mailbox_page){ .ok = true, .end = true });
    else if (thread_entry_put(op, position.text))
        large_failed(op);
}

/* ---- the beginning ---- */

static enum err first_put(struct mailbox *mailbox, const struct page_request *request,
                          const struct op *like)
{
    char room[THREAD_KEY_MAX];
    struct call call;

    if (request->thread.len) {
        mailbox_pages_build_thread(&call, mailbox, request, 1, 0, room);
        return large_put(&call, on_thread_position, like);
    }
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

enum err mailbox_large_put(struct mailbox *mailbox, const struct page_request *request,
                           const struct op *like)
{
    struct large_page *large = malloc(sizeof *large + mailbox_pages_text_len(request));
    struct op first = *like;
    enum err err;

    if (!large)
        return ERR_NOMEM;
    *large = (struct large_page){ .request = mailbox_pages_keep(request, large->text) };
    first.arg = large;
    err = first_put(mailbox, request, &first);
    if (err)
        large_free(large);
    return err;
}
