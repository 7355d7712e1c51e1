/*
 * An outgoing message: serialised once, immutable, shared by reference by all who receive it.
 *
 * `data` is the whole payload of one WebSocket message. For an envelope it begins with '{', so that
 * a recipient's own fields (`seq`) can be put into a short head of its own: head, then data + 1.
 */
#ifndef COMMON_MSG_H
#define COMMON_MSG_H

#include "common/slice.h"

#include <stdint.h>

enum msg_kind {
    MSG_SIGNAL, /* can be shed when a session's queue is full, lowest level first */
    MSG_MAIL,   /* never shed */
    MSG_ANSWER, /* the server's own message to this session; leaves before everything else */
    MSG_LAST,   /* `goodbye`; leaves after everything else */
};

enum msg_flag {
    MSG_ASKS = 1,    /* the sender asked for a receipt: an acknowledgement causes one */
    MSG_EXPIRES = 2, /* only the mailbox knows whether the message may still be delivered */
    MSG_FLAGS = 3,
};

/* The state of a message's compressed form (wire/deflate_form.c). */
enum msg_form {
    MSG_FORM_UNKNOWN,  /* not tried yet, or there are forms in `packed` */
    MSG_FORM_PLAIN,    /* would not get smaller */
    MSG_FORM_LATE,     /* the message is compressed when it leaves: never a part of a run */
    MSG_FORM_IN_ORDER, /* compressed in the order of leaving, and must leave in that order */
    MSG_FORM_SHARED,   /* a compressed form; MSG_FORM_SHARED + n: see deflate_form.c */
};

struct msg {
    uint32_t refs; /* one process, one thread: not atomic */
    uint32_t len;
    struct msg *packed; /* compressed forms of this message, a chain; references. NULL: none */
    int8_t level;       /* -9 to 9 */
    uint8_t kind;       /* enum msg_kind */
    uint8_t opcode;     /* RFC 6455 5.2: 1 text, 2 binary */
    uint8_t pool;       /* the pool that its memory goes back to; used by msg.c alone */
    uint16_t frames;    /* of a run of answers (outbox.c): the number of text frames in it */
    uint8_t flags;      /* of enum msg_flag */
    uint8_t form;       /* enum msg_form */
    char data[];
};

/* Returns a text message with one reference, owned by the caller, and with len bytes of data that
 * the caller fills; NULL when out of memory. */
struct msg *msg_make(size_t len, enum msg_kind kind, int level);
/* The same, with a copy of payload as its data. */
struct msg *msg_new(struct slice payload, enum msg_kind kind, int level);
struct msg *msg_ref(struct msg *msg);
/* Drops the caller's reference; the last one frees. NULL is allowed. */
void msg_unref(struct msg *msg);
static inline struct slice msg_slice(const struct msg *msg)
{
    return (struct slice){ msg->data, msg->len };
}

#endif
