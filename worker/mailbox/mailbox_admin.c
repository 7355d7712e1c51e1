#include "worker/mailbox/mailbox_admin.h"

#include "common/utf8.h"
#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PURGE_STEP = 64,            /* messages that one call removes: some two milliseconds */
    PURGE_STEP_BYTES = 1 << 20, /* and their bytes, and a few messages more */
    CURSORS_AT = 6,             /* in the answer of look.lua */
    SESSIONS_AT = 7,
};

/* ---- a look ---- */

static void on_looked(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_look look = { .mailbox = op->mailbox, .reply = reply };
    int64_t known = mailbox_answer_number(reply, 0), count = mailbox_answer_number(reply, 1),
            bytes = mailbox_answer_number(reply, 5);
    struct redis_reply sessions;

    look.ok = known >= 0 && count >= 0 && reply->count > SESSIONS_AT;
    if (look.ok) {
        look.known = known == 1;
        look.count = (uint64_t)count;
        look.bytes = bytes > 0 ? (uint64_t)bytes : 0;
        (void)mailbox_answer_seq(reply, 2, &look.oldest); /* "": stays zero */
        (void)mailbox_answer_seq(reply, 3, &look.newest);
        (void)mailbox_answer_seq(reply, 4, &look.lost);
        sessions = redis_reply_at(reply, SESSIONS_AT);
        look.session_count = mailbox_answer_sessions(op->mailbox, &sessions, &look.sessions);
    }
    ((mailbox_look_cb)op->done)(op->arg, &look);
}

enum err mailbox_look(struct mailbox *mailbox, struct slice address, bool with_devices,
                      mailbox_look_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_LOOK);
    call_keys(&call, address, CALL_KEYS(":box", ":ids", ":at", ":cur"));
    call_add_int(&call, with_devices);
    return call_put(&call, on_looked, (op_done)done, arg);
}

/* "SEQ@EPOCH" */
static bool take_cursor(const struct mailbox_look *look, struct slice text,
                        struct mailbox_device *device)
{
    struct mailbox_opened opened = { .cursor_epoch_ok = false };

    if (!mailbox_answer_cursor(look->mailbox, text, &opened) || !utf8_valid(device->name))
        return false;
    device->cursor = opened.cursor;
    device->is_present_epoch = opened.cursor_epoch_ok;
    return true;
}

/* DEVICE \1 SEQ@EPOCH NUL, one behind the other: lua/README.md. */
static bool seen_next(struct mailbox_look *look, struct mailbox_device *device)
{
    while (look->seen.len) {
        const char *end = memchr(look->seen.data, 0, look->seen.len);
        struct slice item =
            slice_make(look->seen.data, end ? (size_t)(end - look->seen.data) : look->seen.len);
        const char *mark = item.len ? memchr(item.data, 1, item.len) : NULL;
        size_t rest = look->seen.len - item.len;

        look->seen = end ? slice_make(end + 1, rest - 1) : (struct slice){ NULL, 0 };
        if (!mark)
            continue;
        *device =
            (struct mailbox_device){ .name = slice_make(item.data, (size_t)(mark - item.data)) };
        if (take_cursor(look, slice_make(mark + 1, item.len - device->name.len - 1), device))
            return true;
    }
    return false;
}

bool mailbox_look_next(struct mailbox_look *look, size_t *at, struct mailbox_device *device)
{
    struct redis_reply cursors = redis_reply_at(look->reply, CURSORS_AT);

    while (cursors.type == REDIS_ARRAY && *at + 1 < cursors.count) {
        struct redis_reply name = redis_reply_at(&cursors, *at),
                           value = redis_reply_at(&cursors, *at + 1);
        *at += 2;
        if (name.type != REDIS_STRING || value.type != REDIS_STRING)
            continue;
        if (slice_equal(name.text, SLICE("\2")))
            look->seen = value.text;
        if (name.text.len && (unsigned char)name.text.data[0] <= 2)
            continue; /* lists, and the highest of the cursors */
        *device = (struct mailbox_device){ .name = name.text, .has_acknowledged = true };
        if (take_cursor(look, value.text, device))
            return true;
    }
    return seen_next(look, device);
}

/* ---- a purge ---- */

void mailbox_purge_before(struct mailbox_purge_end *end, struct seq before)
{
    end->text[0] = '(';
    seq_format(end->text + 1, before);
}

/* What the next call says again. */
static bool take_end(const struct redis_reply *reply, struct mailbox_purge_end *end)
{
    struct redis_reply text = redis_reply_at(reply, 3);
    bool is_open = text.type == REDIS_STRING && text.text.len && text.text.data[0] == '(';
    struct seq seq;

    if (text.type != REDIS_STRING ||
        !seq_parse(slice_make(text.text.data + is_open, text.text.len - is_open), &seq))
        return false;
    end->text[0] = '(';
    seq_format(end->text + is_open, seq);
    return true;
}

static void on_purged(struct op *op, const struct redis_reply *reply)
{
    int64_t removed = mailbox_answer_number(reply, 0), bytes = mailbox_answer_number(reply, 1),
            more = mailbox_answer_number(reply, 2);
    struct mailbox_purged purged = { .ok = removed >= 0 && bytes >= 0 && more >= 0 &&
                                           reply->count > 3 };

    purged.ok = purged.ok && take_end(reply, &purged.end);
    if (purged.ok) {
        purged.removed = (uint64_t)removed;
        purged.bytes = (uint64_t)bytes;
        purged.more = more == 1;
    }
    ((mailbox_purged_cb)op->done)(op->arg, &purged);
}

enum err mailbox_purge(struct mailbox *mailbox, struct slice address,
                       const struct mailbox_purge_end *end, mailbox_purged_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_PURGE);
    call_keys(&call, address, CALL_KEYS(":box", ":ids"));
    call_add(&call, slice_of(end->text));
    call_add_int(&call, PURGE_STEP);
    call_add_int(&call, PURGE_STEP_BYTES);
    return call_put(&call, on_purged, (op_done)done, arg);
}

/* ---- a message at a recipient ---- */

static void on_traced(struct op *op, const struct redis_reply *reply)
{
    int64_t state = mailbox_answer_number(reply, 0);
    struct mailbox_trace trace = { .state = MAILBOX_TRACE_UNKNOWN };
    struct seq expires_at = { 0, 0 };

    if (state >= 0 && state < MAILBOX_TRACE_UNKNOWN && reply->count > 6) {
        trace.state = (enum mailbox_trace_state)state;
        (void)mailbox_answer_seq(reply, 1, &trace.seq); /* "": stays zero */
        (void)mailbox_answer_seq(reply, 2, &trace.delivered);
        (void)mailbox_answer_seq(reply, 3, &trace.read);
        (void)mailbox_answer_seq(reply, 4, &trace.recalled);
        (void)mailbox_answer_seq(reply, 5, &trace.expired);
        (void)mailbox_answer_seq(reply, 6, &expires_at);
        trace.expires_at = expires_at.ms <= INT64_MAX ? (int64_t)expires_at.ms : 0;
    }
    ((mailbox_trace_cb)op->done)(op->arg, &trace);
}

enum err mailbox_trace(struct mailbox *mailbox, struct slice address, struct slice from,
                       struct slice id, mailbox_trace_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_TRACE);
    call_keys(&call, address, CALL_KEYS(":box", ":ids"));
    call_add(&call, from);
    call_add(&call, id);
    call_add(&call, address);
    return call_put(&call, on_traced, (op_done)done, arg);
}
