/*
 * Bodies that several mailboxes share: a large body for many recipients is sent to Redis and stored
 * once, in a key of its own, and each letter names the key.
 *
 * The key expires as the keys of a mailbox do, so no count of letters in Redis can drift. The name
 * is new for each body, so a repeated SET writes what stands there already, and no other message
 * uses the name. A body that no letter came to use (all were refused, or were repetitions) is
 * removed at once.
 *
 * The body does not pass through Lua, which reads every byte of a string: a script would hold Redis
 * for two milliseconds with 1 MB, a plain SET takes a twentieth of that.
 *
 * The body is an op of the row before its letters, and is sent again as they are. The append script
 * refuses a letter whose body Redis does not have.
 */
#ifndef WORKER_MAILBOX_BODY_H
#define WORKER_MAILBOX_BODY_H

#include "common/msg.h"
#include "worker/mailbox/mailbox.h"

/* A smaller body is stored with each letter: the key and the second reading would cost more. */
enum { BODY_SHARED_BYTES_MIN = 4096 };

enum { BODY_NAME_LEN = 32 };

struct call;

struct mailbox_body {
    struct mailbox *mailbox;
    uint32_t holders;
    uint32_t bytes;
    uint16_t lane;                /* of the sender: the letters stand in it too */
    bool used;                    /* a letter that names the body is stored, or may be */
    char text[1 + BODY_NAME_LEN]; /* "@NAME": field b of the letters */
};

/* Puts the body into the row, in this lane (mailbox_lane); the row holds msg until the answer. The
 * caller is the first holder. NULL: no memory, or Redis takes no commands. */
struct mailbox_body *mailbox_body_put(struct mailbox *mailbox, struct msg *msg, uint16_t lane);
struct mailbox_body *mailbox_body_ref(struct mailbox_body *body);
/* The last holder goes: a body that is not used is removed. NULL is allowed. */
void mailbox_body_unref(struct mailbox_body *body);
/* Adds the key of the body that field b of a letter names ("@NAME") to the call. */
void mailbox_body_add_key(struct call *call, struct slice reference);

#endif
