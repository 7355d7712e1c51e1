#include "common/msg.h"

#include <assert.h>
#include <stdlib.h>

struct msg *msg_make(size_t len, enum msg_kind kind, int level)
{
    struct msg *msg;

    if (len > UINT32_MAX)
        return NULL;
    msg = malloc(sizeof *msg + len);
    if (!msg)
        return NULL;
    *msg = (struct msg){
        .refs = 1, .len = (uint32_t)len, .level = (int8_t)level, .kind = (uint8_t)kind, .opcode = 1
    };
    return msg;
}

struct msg *msg_new(struct slice payload, enum msg_kind kind, int level)
{
    struct msg *msg = msg_make(payload.len, kind, level);

    if (msg && payload.len)
        memcpy(msg->data, payload.data, payload.len);
    return msg;
}

struct msg *msg_ref(struct msg *msg)
{
    msg->refs++;
    return msg;
}

void msg_unref(struct msg *msg)
{
    if (!msg)
        return;
    assert(msg->refs > 0);
    if (--msg->refs == 0)
        free(msg);
}
