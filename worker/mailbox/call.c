#include "worker/mailbox/call.h"

/* A larger buffer, which a rare long list has needed, is not kept. */
enum { CALL_TEXT_BYTES_KEPT = 64 << 10 };

static void call_begin(struct call *call, struct mailbox *mailbox, enum script script)
{
    if (mailbox->text.size > CALL_TEXT_BYTES_KEPT)
        buf_fini(&mailbox->text);
    buf_reset(&mailbox->text);
    call->mailbox = mailbox;
    call->script = script;
    call->key_count = call->wanted = 0;
    call->lane = call->seat = call->account = 0;
    call->is_body = false;
    call->count = 0;
}

void call_plain(struct call *call, struct mailbox *mailbox, struct slice name)
{
    call_begin(call, mailbox, SCRIPT_NONE);
    call_add(call, name);
}

void call_script(struct call *call, struct mailbox *mailbox, enum script script)
{
    call_begin(call, mailbox, script);
    call_add(call, SLICE("EVALSHA"));
    call_add(call, slice_make(mailbox->shas[script], SHA_HEX));
    call_add(call, SLICE("")); /* the number of keys: call_close */
}

static void add_arg(struct call *call, struct slice arg)
{
    if (call->count < CALL_ARGS_MAX)
        call->args[call->count++] = arg;
}

/* The bytes of mailbox->text from start on. Where they lie is known when the call is complete, as
 * the buffer moves while it grows. */
static void add_piece(struct call *call, size_t start)
{
    add_arg(call, slice_make(NULL, call->mailbox->text.len - start));
}

/* --- keys --- */

void call_keys(struct call *call, struct slice address, const char *const *suffixes)
{
    struct buf *text = &call->mailbox->text;
    size_t first = text->len, base;

    mailbox_key(text, slice_of(call->mailbox->prefix), address, "");
    base = text->len - first;
    for (unsigned i = 0; suffixes[i]; i++) {
        size_t start = i == 0 ? first : text->len;
        if (i > 0 && !buf_reserve(text, base)) /* so that the source does not move */
            buf_add(text, text->data + first, base);
        buf_add_text(text, suffixes[i]);
        add_piece(call, start);
        call->key_count++;
    }
}

void call_global_key(struct call *call, const char *name)
{
    struct buf *text = call_text(call);

    buf_add_text(text, call->mailbox->prefix);
    buf_add_text(text, name);
    call_text_end(call);
    call->key_count++;
}

void call_key(struct call *call, struct slice key)
{
    call_add(call, key);
    call->key_count++;
}

/* --- arguments --- */

void call_add(struct call *call, struct slice arg)
{
    add_arg(call, arg.data ? arg : SLICE(""));
}

void call_add_int(struct call *call, int64_t value)
{
    buf_add_int(call_text(call), value);
    call_text_end(call);
}

void call_add_seq(struct call *call, struct seq seq)
{
    char digits[SEQ_TEXT_MAX];

    buf_add(call_text(call), digits, seq_format(digits, seq));
    call_text_end(call);
}

struct buf *call_text(struct call *call)
{
    call->piece_start = call->mailbox->text.len;
    return &call->mailbox->text;
}

void call_text_end(struct call *call)
{
    add_piece(call, call->piece_start);
}

void call_text_seq(struct buf *text, struct seq seq)
{
    char digits[SEQ_TEXT_MAX];

    buf_add(text, digits, seq_format(digits, seq));
    buf_add_char(text, ' ');
}

/* --- the end --- */

/* Commands are taken: Redis is there, though the mailbox may not be ready yet. */
static bool takes_commands(const struct mailbox *mailbox)
{
    return mailbox->state != MAILBOX_DOWN && !mailbox->fault[0] && redis_is_up(mailbox->redis);
}

/* The pieces get their addresses, the script the number of its keys. */
static enum err call_close(struct call *call)
{
    static const char digits[] = "0123456789";
    const char *at = buf_slice(&call->mailbox->text).data;

    if (call->mailbox->text.failed)
        return ERR_NOMEM;
    if (call->count >= CALL_ARGS_MAX)
        return ERR_BAD;
    assert(call->key_count <= CALL_KEYS_MAX);
    if (call->script != SCRIPT_NONE)
        call->args[CALL_KEY_COUNT] = slice_make(digits + call->key_count, 1);
    for (size_t i = 0; i < call->count; i++)
        if (!call->args[i].data) {
            call->args[i].data = at;
            at += call->args[i].len;
        }
    return OK;
}

static struct op call_op(struct call *call, op_finish finish, op_done done, void *arg)
{
    return (struct op){ .finish = finish,
                        .done = done,
                        .arg = arg,
                        .script = call->script,
                        .seat = call->seat,
                        .account = call->account,
                        .lane = call->lane,
                        .is_body = call->is_body,
                        .wanted = call->wanted,
                        .arg_count = call->count,
                        .args = call->args };
}

enum err call_put(struct call *call, op_finish finish, op_done done, void *arg)
{
    struct op like = call_op(call, finish, done, arg);
    enum err err = call_close(call);

    if (!err && !takes_commands(call->mailbox))
        err = ERR_DOWN;
    return err ? err : row_put(call->mailbox, &like);
}

enum err call_put_append(struct call *call, struct msg *kept, op_finish finish, op_done done,
                         void *arg)
{
    struct op like = call_op(call, finish, done, arg);
    enum err err = call_close(call);

    if (!err && !takes_commands(call->mailbox))
        err = ERR_DOWN;
    return err ? err : row_put_append(call->mailbox, &like, kept);
}

enum err call_tell(struct call *call)
{
    enum err err = call_close(call);

    if (err)
        return err;
    return redis_command(call->mailbox->redis, call->args, call->count, NULL, NULL);
}

enum err call_ask(struct call *call, ask_answered answered, unsigned number)
{
    return call_ask_by(call, call->mailbox->redis, answered, number);
}

enum err call_ask_by(struct call *call, struct redis *redis, ask_answered answered, unsigned number)
{
    enum err err = call_close(call);

    if (err)
        return err;
    return ask_send_by(call->mailbox, redis, call->args, call->count, answered, number);
}
