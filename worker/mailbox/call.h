/*
 * A call: one command for Redis as it is put together, script or plain, then put into the row or
 * asked at once.
 *
 *     call_script(&call, mailbox, SCRIPT_ACK);
 *     call_keys(&call, address, CALL_KEYS(":cur"));
 *     call_add(&call, device);
 *     call_add_seq(&call, seq);
 *     return call_put(&call, on_ack_answered, (op_done)done, arg);
 *
 * What a call composes (keys, numbers, lists) lies one piece behind the other in one buffer of the
 * mailbox. So a call costs no memory of its own, and no step needs a check: the first failure is
 * remembered, and returned when the call is put. Therefore only one call is built at a time, and
 * the call must be put before the next one begins.
 */
#ifndef WORKER_CALL_H
#define WORKER_CALL_H

#include "common/err.h"
#include "worker/mailbox/ask.h"
#include "worker/mailbox/mailbox_parts.h"
#include "worker/mailbox/row.h"

enum {
    CALL_ARGS_MAX = 40,
    CALL_KEYS_MAX = 9,
    CALL_TEXT_BYTES_MAX = 4 << 20,
};
/* EVALSHA, the script, the number of keys (one digit), the keys, the arguments. */
enum { CALL_SCRIPT = 1, CALL_KEY_COUNT = 2, CALL_FIRST_KEY = 3 };

struct call {
    struct mailbox *mailbox;
    enum script script; /* SCRIPT_NONE: a plain command */
    unsigned key_count;
    unsigned wanted;                  /* bytes that a page may have: for the answer */
    uint16_t seat, account;           /* of a page (row.h) */
    uint16_t lane;                    /* of the op (row.h); 0: none */
    bool is_body;                     /* see struct op */
    size_t count;                     /* CALL_ARGS_MAX: one was too many */
    size_t piece_start;               /* in mailbox->text, between call_text and call_text_end */
    struct slice args[CALL_ARGS_MAX]; /* data NULL: the next piece of mailbox->text */
};

void call_plain(struct call *call, struct mailbox *mailbox, struct slice name);
void call_script(struct call *call, struct mailbox *mailbox, enum script script);

/* The keys PREFIX{ADDRESS}SUFFIX, one for each suffix. All keys of a script come before its
 * arguments. */
void call_keys(struct call *call, struct slice address, const char *const *suffixes);
#define CALL_KEYS(...) ((const char *const[]){ __VA_ARGS__, NULL })
/* The key PREFIXname, which belongs to no address. */
void call_global_key(struct call *call, const char *name);
/* A key as it is; borrowed as the argument of call_add is. */
void call_key(struct call *call, struct slice key);

/* Borrows arg until the call is put. */
void call_add(struct call *call, struct slice arg);
void call_add_int(struct call *call, int64_t value);
void call_add_seq(struct call *call, struct seq seq);
/* An argument that the caller composes: appends to the buffer, then ends it. */
struct buf *call_text(struct call *call);
void call_text_end(struct call *call);
/* Appends "MS-N " to a text. */
void call_text_seq(struct buf *text, struct seq seq);

/* Puts the call into the row, which copies it. ERR_DOWN: Redis is away, or the row is full;
 * ERR_NOMEM; ERR_BAD: too many arguments. After an error finish and done are not called. */
enum err call_put(struct call *call, op_finish finish, op_done done, void *arg);
/* call_put of an append; kept as of row_put_append. */
enum err call_put_append(struct call *call, struct msg *kept, op_finish finish, op_done done,
                         void *arg);
/* Sends at once; nobody waits for the answer. */
enum err call_tell(struct call *call);
/* Asks at once (ask_send). */
enum err call_ask(struct call *call, ask_answered answered, unsigned number);
/* The same, by another connection (ask_send_by). */
enum err call_ask_by(struct call *call, struct redis *redis, ask_answered answered,
                     unsigned number);

#endif
