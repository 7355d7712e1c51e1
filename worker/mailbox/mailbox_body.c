#include "worker/mailbox/mailbox_body.h"

#include "common/sha1.h"
#include "worker/mailbox/call.h"

#include <stdio.h>
#include <stdlib.h>

/* The body lives as long as the keys of a mailbox (piece_keep.lua): an entry that names the body
 * vanishes earlier, so nothing counts the entries. */
enum { BODY_OUTLIVES_S = 10000 };

/* The place of a worker is its own, and each of the worker's bodies has a number. */
static void make_name(struct mailbox *mailbox, char name[BODY_NAME_LEN])
{
    char text[2 * 20 + 1];
    uint8_t digest[20];
    struct buf seed;

    buf_init(&seed, 1024);
    buf_addf(&seed, "%s/%llu", mailbox->place, (unsigned long long)++mailbox->body_count);
    sha1(buf_text(&seed), seed.len, digest);
    buf_fini(&seed);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    memcpy(name, text, BODY_NAME_LEN);
}

void mailbox_body_add_key(struct call *call, struct slice reference)
{
    struct buf *text = call_text(call);

    buf_add_text(text, call->mailbox->prefix);
    buf_add_text(text, "body:");
    buf_add(text, reference.data + 1, reference.len - 1);
    call_text_end(call);
}

/* The letters behind the body have answers of their own. */
static void body_reported(void *arg, const struct mailbox_appended *appended)
{
    (void)arg;
    (void)appended;
}

static void on_body_stored(struct op *op, const struct redis_reply *reply)
{
    (void)op;
    (void)reply;
}

struct mailbox_body *mailbox_body_put(struct mailbox *mailbox, struct msg *msg, uint16_t lane)
{
    struct mailbox_body *body = malloc(sizeof *body);
    struct call call;

    if (!body)
        return NULL;
    *body = (struct mailbox_body){
        .mailbox = mailbox, .holders = 1, .bytes = (uint32_t)msg->len, .lane = lane
    };
    body->text[0] = '@';
    make_name(mailbox, body->text + 1);
    call_plain(&call, mailbox, SLICE("SET"));
    call.lane = lane;
    call.is_body = true;
    mailbox_body_add_key(&call, slice_make(body->text, sizeof body->text));
    call_add(&call, msg_slice(msg));
    call_add(&call, SLICE("EX"));
    call_add_int(&call, 2 * mailbox->retention.age_s + BODY_OUTLIVES_S);
    if (call_put_append(&call, msg, on_body_stored, (op_done)body_reported, NULL)) {
        free(body);
        return NULL;
    }
    mailbox->counts.bodies_shared++;
    return body;
}

struct mailbox_body *mailbox_body_ref(struct mailbox_body *body)
{
    body->holders++;
    return body;
}

/* Through the row, and through the sender's lane: the removal must not overtake the body. A removal
 * that is lost leaves the body to its expiry. */
static void body_remove(const struct mailbox_body *body)
{
    struct call call;

    call_plain(&call, body->mailbox, SLICE("UNLINK"));
    call.lane = body->lane;
    mailbox_body_add_key(&call, slice_make(body->text, sizeof body->text));
    (void)call_put(&call, on_body_stored, NULL, NULL);
}

void mailbox_body_unref(struct mailbox_body *body)
{
    if (!body)
        return;
    assert(body->holders > 0);
    if (--body->holders > 0)
        return;
    if (!body->used && body->mailbox->state == MAILBOX_UP)
        body_remove(body);
    free(body);
}
