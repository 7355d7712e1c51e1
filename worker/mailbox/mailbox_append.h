/*
 * Appending a message to a mailbox.
 *
 * An append has exactly one outcome, and its callback is called once: stored (perhaps long ago: a
 * repetition), refused, or unavailable before it was sent. An append that was sent and whose answer
 * was lost is sent again, under the same id, when Redis is back: the script's dedupe makes the
 * repetition safe.
 */
#ifndef WORKER_MAILBOX_APPEND_H
#define WORKER_MAILBOX_APPEND_H

#include "common/err.h"
#include "common/msg.h"
#include "common/seq.h"
#include "worker/mailbox/mailbox.h"

enum mailbox_outcome {
    MAILBOX_STORED,
    MAILBOX_REPEATED, /* the same from and id within mailbox.dedupeSeconds: stored then, at seq */
    MAILBOX_FULL,     /* mailbox.full is "reject" */
    MAILBOX_UNASKED,  /* a letter with `reads`: no such message in the mailbox of `from` asked for
                       * a "read" receipt */
    MAILBOX_NOBODY,   /* a letter with `if_known`: the address is not known */
    MAILBOX_UNAVAILABLE, /* not stored: Redis is away, out of memory, read-only, or a wrong type is
                          * under the key; or durability was not reached in time (then the message
                          * is stored, but not promised) */
    MAILBOX_UNKNOWN, /* sent, and without an answer for half of mailbox.dedupeSeconds: the message
                      * may or may not be stored. Neither accept nor reject it: close the
                      * sender's session */
};
struct mailbox_appended {
    enum mailbox_outcome outcome;
    /* `before` is the seq of the message before this one in the mailbox. Zero: there is none. The
     * same as seq: not known (a repetition, or an append that was sent twice), so read the mailbox.
     */
    struct seq seq, before;
    /* Fields of `:at` (worker/mailbox/place.h) of other workers: where the address has sessions.
     * Borrowed for the callback. */
    const struct slice *elsewhere;
    size_t elsewhere_count;
};
typedef void (*mailbox_appended_cb)(void *arg, const struct mailbox_appended *appended);

struct mailbox_letter {
    struct slice address;        /* whose mailbox */
    struct slice from, id;       /* messages with the same two are the same message */
    struct slice body;           /* as it is to be delivered, without seq; begins with '{' */
    struct msg *msg;             /* holds the body's bytes: referenced, not copied; may be NULL */
    struct mailbox_body *shared; /* the body, as it was put before (mailbox_body.h); NULL: the body
                                  * is stored with this letter */
    struct slice thread;         /* subjectId; data NULL: none */
    struct slice skip_device;    /* of a copy for the sender's other devices: the device that sent;
                                  * data NULL: no device is skipped */
    struct slice reads; /* of a "read" receipt: the id of the message that `from` has read and
                         * `address` has sent; data NULL: the letter is no such receipt */
    int64_t expires_at; /* Unix seconds; 0: never */
    uint16_t lane;      /* mailbox_lane of whoever causes the letter; 0: the letter waits for no
                         * turn */
    uint8_t receipt;    /* 0, 2, 3: asked for by the sender */
    bool if_known;      /* only for an address that has had a session (mailbox.addresses) */
    int8_t level;
};
/* Borrows letter for the call and keeps a copy until the answer. Appends of one lane are carried
 * out in the order of the calls; lanes take turns when letters wait. ERR_DOWN: Redis is away or too
 * much waits; ERR_BAD: the id cannot be one; ERR_NOMEM. After an error nothing was or will be
 * stored, and done is not called. */
enum err mailbox_append(struct mailbox *mailbox, const struct mailbox_letter *letter,
                        mailbox_appended_cb done, void *arg);

#endif
