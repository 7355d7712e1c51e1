#include "worker/wire/deflate_form.h"

#include "worker/wire/ws.h"

bool deflate_leaves_in_order(const struct deflate *deflate, uint64_t len)
{
    return deflate->server_takeover && len <= DEFLATE_LARGE;
}

/* A form's kind: its window, and whether the text's first byte is left out. */
static uint8_t form_kind(uint8_t bits, bool without_first)
{
    return (uint8_t)(MSG_FORM_SHARED + 2 * bits + without_first);
}

static bool is_packable(const struct deflate *deflate, const struct msg *msg)
{
    return msg->form <= MSG_FORM_LATE && (msg->opcode == WS_TEXT || msg->opcode == WS_BINARY) &&
           deflate_is_worth(deflate, msg->len);
}

/* Returns a message with the compressed bytes that leaves where `like` would leave; NULL: no
 * memory. */
static struct msg *form_new(const struct msg *like, struct slice packed, uint8_t form)
{
    struct msg *made = msg_new(packed, (enum msg_kind)like->kind, like->level);

    if (!made)
        return NULL;
    made->opcode = like->opcode | WS_COMPRESSED;
    made->flags = like->flags;
    made->form = form;
    return made;
}

/* A form with a smaller window suits a connection with a larger window too. */
static struct msg *find_form(struct msg *msg, uint8_t kind)
{
    struct msg *form = msg->packed;

    while (form && (form->form > kind || (form->form ^ kind) & 1))
        form = form->packed;
    return form;
}

static struct slice text_of(const struct msg *msg, bool without_first)
{
    return slice_make(msg->data + without_first, msg->len - without_first);
}

struct msg *deflate_form(struct deflate *deflate, struct msg *msg, bool without_first,
                         enum deflate_made *made)
{
    uint8_t kind = form_kind(deflate->server_bits, without_first);
    struct msg *form = find_form(msg, kind);
    struct slice packed;
    enum err err;

    *made = form ? DEFLATE_USED : DEFLATE_NOT_TRIED;
    if (form)
        return form;
    if (msg->form == MSG_FORM_PLAIN || msg->len <= without_first || !is_packable(deflate, msg))
        return msg;
    if (!deflate_has_share(deflate, msg->len)) {
        *made = DEFLATE_NO_SHARE;
        return msg;
    }
    err = deflate_pack(deflate, text_of(msg, without_first), &packed);
    if (!err && without_first && packed.len + DEFLATE_STORED_HEAD >= msg->len)
        err = ERR_FULL;
    form = err ? NULL : form_new(msg, packed, kind);
    *made = form ? DEFLATE_PACKED : err == ERR_FULL ? DEFLATE_NO_GAIN : DEFLATE_NO_MEMORY;
    if (err == ERR_FULL)
        msg->form = MSG_FORM_PLAIN;
    if (!form)
        return msg;
    form->packed = msg->packed;
    msg->packed = form;
    return form;
}

struct msg *deflate_form_in_order(struct deflate *deflate, struct msg *msg, struct slice head,
                                  enum deflate_made *made)
{
    struct msg *form = NULL;
    struct slice packed;
    enum err err;

    *made = DEFLATE_NOT_TRIED;
    if (msg->form >= MSG_FORM_SHARED)
        deflate_forget(deflate); /* the form is about to leave, and is not in the context */
    if (!is_packable(deflate, msg) || !deflate_leaves_in_order(deflate, msg->len))
        return NULL;
    err = deflate_pack_in_order(deflate, head, text_of(msg, head.len > 0), &packed);
    if (!err && !(form = form_new(msg, packed, MSG_FORM_IN_ORDER))) {
        deflate_forget(deflate);
        err = ERR_NOMEM;
    }
    *made = form ? DEFLATE_PACKED : err == ERR_FULL ? DEFLATE_NO_GAIN : DEFLATE_NO_MEMORY;
    return form;
}
