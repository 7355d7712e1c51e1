/*
 * Commands for receipts, recall and expiry (docs/protocol.md, sections 5.9 to 5.11).
 *
 * A receipt is owed from the moment in which its message was acknowledged, recalled or expired:
 * Redis keeps the debt until mailbox_settle, whichever worker dies. A worker whose answer brings a
 * debt appends the receipt to its recipient's mailbox (payment_pay) and then settles the debt.
 *
 * Answers are borrowed for their callback. An error of a call is as of mailbox_append: done is not
 * called.
 */
#ifndef WORKER_MAILBOX_RECEIPTS_H
#define WORKER_MAILBOX_RECEIPTS_H

#include "common/err.h"
#include "common/seq.h"
#include "worker/mailbox/mailbox.h"

/* A debt: a receipt to be appended to the mailbox of `to`. */
struct mailbox_owed {
    struct slice text; /* the debt's name in Redis, for mailbox_settle */
    struct slice state, to, from, in_reply_to, id;
    int64_t at_s; /* Unix seconds: owed since */
    int level;
    struct seq stored; /* of the receipt, which is in the mailbox already and has only to be
                        * settled; zero: the receipt is not there, or that is not known */
};
/* The debts in an answer, to be read one after the other. */
struct mailbox_debts {
    const struct redis_reply *reply;
    size_t next;
};
/* False: there are no more. An element of a foreign shape is left out. */
bool mailbox_debts_next(struct mailbox_debts *debts, struct mailbox_owed *owed);

enum { MAILBOX_ACK_STEP = 64 }; /* messages that one call acknowledges at most */
struct mailbox_range {
    struct seq first, last;
};
struct mailbox_acked {
    bool ok;   /* false: not known; call again */
    bool more; /* the cursor has not been moved yet: call again with the same arguments */
    struct mailbox_debts debts;
};
typedef void (*mailbox_acked_cb)(void *arg, struct mailbox_acked *acked);
/* mailbox_ack of messages of which some asked for a receipt. A seq of zero moves no cursor. Every
 * message in the ranges that no device had acknowledged before is owed its receipt; at most
 * MAILBOX_ACK_STEP messages a call. */
enum err mailbox_ack_asked(struct mailbox *mailbox, struct slice address, struct slice device,
                           struct seq seq, const struct mailbox_range *ranges, size_t range_count,
                           mailbox_acked_cb done, void *arg);
/* The receipt is in the mailbox: removes the debt. */
void mailbox_settle(struct mailbox *mailbox, struct slice owed_text);

struct mailbox_due {
    bool ok;
    bool more;        /* there are more: call again at once */
    uint64_t expired; /* messages that were removed */
    struct mailbox_debts debts;
};
typedef void (*mailbox_due_cb)(void *arg, struct mailbox_due *due);
/* Removes a bounded number of messages that expired undelivered, of any mailbox, and takes over a
 * bounded number of debts that another worker has not settled in time. For some seconds the debts
 * of the answer are this worker's alone. */
enum err mailbox_due(struct mailbox *mailbox, mailbox_due_cb done, void *arg);

/* Appends records (sent.c) to the log of what `from` has sent. keep: also prolongs the log's life,
 * which must be done now and then. */
enum err mailbox_note_sent(struct mailbox *mailbox, struct slice from, struct slice records,
                           bool keep);
struct mailbox_sent {
    bool ok, found;
    struct slice recipients; /* when found: a line each */
    uint64_t entries, bytes; /* when not found: that were searched */
    bool more;               /* when not found: older entries lie before `last` */
    struct seq last;
};
typedef void (*mailbox_sent_cb)(void *arg, const struct mailbox_sent *sent);
/* Searches a bounded number of entries for the recipients of the message `id`, backwards from
 * before `before` (zero: from the newest). */
enum err mailbox_find_sent(struct mailbox *mailbox, struct slice from, struct slice id,
                           struct seq before, mailbox_sent_cb done, void *arg);

enum mailbox_recall_outcome {
    MAILBOX_NOT_THERE,
    MAILBOX_RECALLED,
    MAILBOX_WAS_READ, /* a device has acknowledged the message: the message stays */
    MAILBOX_RECALL_UNKNOWN,
};
struct mailbox_recalled {
    enum mailbox_recall_outcome outcome;
    struct mailbox_debts debts;
};
typedef void (*mailbox_recalled_cb)(void *arg, struct mailbox_recalled *recalled);
/* Removes the message of this sender and id from the mailbox of `address`. The removal stands in
 * the sender's lane (mailbox_lane), behind the message. */
enum err mailbox_recall(struct mailbox *mailbox, struct slice address, struct slice from,
                        struct slice id, uint16_t lane, mailbox_recalled_cb done, void *arg);

#endif
