/* Sessions that begin and end, pages of a mailbox, cursors: one command each. */
#include "worker/mailbox/mailbox_parts.h"

static enum err put(struct mailbox *mailbox, const struct command *command, op_finish finish,
                    void (*done)(void), void *arg, unsigned count)
{
    const struct op like = { .finish = finish, .done = done, .arg = arg, .count = count };

    return mailbox_put(mailbox, command, &like);
}

/* --- a session begins and ends --- */

/* "SEQ@EPOCH" */
bool mailbox_cursor_parse(const struct mailbox *mailbox, struct slice text,
                          struct mailbox_opened *opened)
{
    const char *at = text.len ? memchr(text.data, '@', text.len) : NULL;
    size_t len = at ? (size_t)(at - text.data) : 0;

    if (!at || !seq_parse(slice_make(text.data, len), &opened->cursor))
        return false;
    opened->cursor_epoch_ok =
        slice_equal(slice_make(at + 1, text.len - len - 1), slice_of(mailbox->epoch));
    return true;
}

static void on_opened(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_opened opened = { .ok = false };
    mailbox_opened_cb done = (mailbox_opened_cb)op->done;

    if (reply && reply->type == REDIS_ARRAY && reply->count >= 9) {
        struct redis_reply known = redis_reply_at(reply, 0), devices = redis_reply_at(reply, 5),
                           trimmed = redis_reply_at(reply, 6), order = redis_reply_at(reply, 7),
                           others = redis_reply_at(reply, 8);
        opened.known_device = known.type == REDIS_INTEGER && known.integer == 1;
        /* A cursor that is not one is as one from another epoch: everything is sent. */
        mailbox_cursor_parse(op->mailbox, redis_reply_at(reply, 1).text, &opened);
        opened.ok = reply_seq(reply, 2, &opened.first) && reply_seq(reply, 3, &opened.last) &&
                    reply_seq(reply, 4, &opened.lost) && devices.type == REDIS_INTEGER;
        opened.device_count = (uint32_t)devices.integer;
        opened.opened_us = order.type == REDIS_INTEGER ? (uint64_t)order.integer : 0;
        opened.other_count = mailbox_at(op->mailbox, &others, &opened.others);
        if (trimmed.type == REDIS_INTEGER && trimmed.integer > 0)
            op->mailbox->counts.trimmed += (uint64_t)trimmed.integer;
    }
    done(op->arg, &opened);
}

/* The session's field of `:at`, or the worker's own. */
static void add_field(struct buf *field, const struct mailbox *mailbox, uint64_t number)
{
    if (number)
        at_add_field(field, slice_of(mailbox->place), number);
    else
        buf_add_text(field, mailbox->place);
}

enum err mailbox_enter(struct mailbox *mailbox, struct slice address,
                       const struct mailbox_entrant *entrant, mailbox_opened_cb done, void *arg)
{
    static const char *const suffixes[4] = { ":box", ":ids", ":at", ":cur" };
    struct command command;
    struct slice keys[4];
    struct buf field;
    enum err err = ERR_NOMEM;

    if (!mailbox_keys(mailbox, address, keys, suffixes, 4))
        return ERR_NOMEM;
    buf_init(&field, AT_FIELD_MAX);
    add_field(&field, mailbox, entrant->number);
    command_script(&command, mailbox, SCRIPT_OPEN, 4);
    for (unsigned i = 0; i < 4; i++)
        command_add(&command, keys[i]);
    command_add(&command, entrant->device);
    command_add(&command, slice_of(mailbox->epoch));
    command_add(&command, buf_slice(&field));
    command_add_int(&command, (int64_t)entrant->opened_us);
    if (entrant->late)
        command_add_int(&command, (int64_t)entrant->age_us);
    else
        command_add(&command, SLICE(""));
    if (!field.failed)
        err = put(mailbox, &command, on_opened, (void (*)(void))done, arg, 0);
    buf_fini(&field);
    return err;
}

enum err mailbox_open(struct mailbox *mailbox, struct slice address, struct slice device,
                      mailbox_opened_cb done, void *arg)
{
    return mailbox_enter(mailbox, address, &(struct mailbox_entrant){ .device = device }, done,
                         arg);
}

/* --- reading --- */

static void on_page(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_page page = { .ok = false };

    if (reply && mailbox_page_parse(op->mailbox, reply, &page))
        page.end = reply->count < op->count;
    ((mailbox_page_cb)op->done)(op->arg, &page);
}

enum err mailbox_read(struct mailbox *mailbox, struct slice address, struct seq after,
                      unsigned count, mailbox_page_cb done, void *arg)
{
    static const char *const suffixes[1] = { ":box" };
    struct command command;
    struct slice key;

    if (!mailbox_keys(mailbox, address, &key, suffixes, 1))
        return ERR_NOMEM;
    command_plain(&command, SLICE("XRANGE"));
    command_add(&command, key);
    command_add_seq(&command, seq_next(after));
    command_add(&command, SLICE("+"));
    command_add(&command, SLICE("COUNT"));
    command_add_int(&command, count);
    return put(mailbox, &command, on_page, (void (*)(void))done, arg, count);
}

static enum err read_thread(struct mailbox *mailbox, struct slice address, struct slice thread,
                            struct seq before, unsigned count, mailbox_page_cb done, void *arg)
{
    static const char *const suffixes[3] = { ":box", ":ids", ":th" };
    struct command command;
    struct slice keys[3];
    char room[THREAD_KEY_MAX];

    if (!mailbox_keys(mailbox, address, keys, suffixes, 3))
        return ERR_NOMEM;
    command_script(&command, mailbox, SCRIPT_THREAD, 3);
    for (unsigned i = 0; i < 3; i++)
        command_add(&command, keys[i]);
    command_add(&command, mailbox_thread_key(thread, room));
    if (before.ms || before.n)
        command_add_seq(&command, before);
    else
        command_add(&command, SLICE(""));
    command_add_int(&command, count);
    return put(mailbox, &command, on_page, (void (*)(void))done, arg, count);
}

enum err mailbox_history(struct mailbox *mailbox, struct slice address, struct slice thread,
                         struct seq before, unsigned count, mailbox_page_cb done, void *arg)
{
    static const char *const suffixes[1] = { ":box" };
    struct command command;
    struct slice key;

    if (thread.data && thread.len)
        return read_thread(mailbox, address, thread, before, count, done, arg);
    if (!mailbox_keys(mailbox, address, &key, suffixes, 1))
        return ERR_NOMEM;
    command_plain(&command, SLICE("XREVRANGE"));
    command_add(&command, key);
    if (before.ms || before.n)
        command_add_seq(&command, seq_previous(before));
    else
        command_add(&command, SLICE("+"));
    command_add(&command, SLICE("-"));
    command_add(&command, SLICE("COUNT"));
    command_add_int(&command, count);
    return put(mailbox, &command, on_page, (void (*)(void))done, arg, count);
}

/* --- acknowledging --- */

static void on_acked(struct op *op, const struct redis_reply *reply)
{
    if (op->done)
        ((mailbox_done_cb)op->done)(op->arg, reply && reply->type == REDIS_INTEGER);
}

enum err mailbox_ack(struct mailbox *mailbox, struct slice address, struct slice device,
                     struct seq seq, mailbox_done_cb done, void *arg)
{
    static const char *const suffixes[1] = { ":cur" };
    struct command command;
    struct slice key;

    if (!mailbox_keys(mailbox, address, &key, suffixes, 1))
        return ERR_NOMEM;
    command_script(&command, mailbox, SCRIPT_ACK, 1);
    command_add(&command, key);
    command_add(&command, device);
    command_add_seq(&command, seq);
    command_add(&command, slice_of(mailbox->epoch));
    return put(mailbox, &command, on_acked, (void (*)(void))done, arg, 0);
}
