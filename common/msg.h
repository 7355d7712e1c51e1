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
    MSG_SIGNAL, /* may be shed when a session's queue is full, lowest level first */
    MSG_MAIL,   /* is never shed */
    MSG_ANSWER, /* the server's own words to this session; leaves before everything else */
    MSG_LAST,   /* goodbye: leaves after everything else */
};

enum msg_flag {
    MSG_ASKS = 1,    /* its sender asked for a receipt: the one who acknowledges it causes one */
    MSG_EXPIRES = 2, /* whether it still may be delivered, the mailbox knows */
    MSG_FLAGS = 3,
};

struct msg {
    uint32_t refs; /* one process, one thread: not atomic */
    uint32_t len;
    int8_t level;    /* -9 to 9 */
    uint8_t kind;    /* enum msg_kind */
    uint8_t opcode;  /* RFC 6455 5.2: 1 text, 2 binary */
    uint8_t pool;    /* where its memory goes back to; msg.c's alone */
    uint16_t frames; /* of a run of several answers (outbox.c): how many of them are text */
    uint8_t flags;   /* of enum msg_flag */
    char data[];
};

/* A message with one reference, owned by the caller, its data not yet filled; NULL when out of
 * memory. */
struct msg *msg_make(size_t len, enum msg_kind kind, int level);
/* The same, with a copy of payload; a text message. */
struct msg *msg_new(struct slice payload, enum msg_kind kind, int level);
struct msg *msg_ref(struct msg *msg);
/* Drops the caller's reference; the last one frees. NULL is allowed. */
void msg_unref(struct msg *msg);
static inline struct slice msg_slice(const struct msg *msg)
{
    return (struct slice){ msg->data, msg->len };
}

#endif
