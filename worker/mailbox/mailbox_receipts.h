/*
 * Commands on mailboxes for receipts, recall and expiry (docs/protocol.md, section 5); what runs
 * inside Redis is in mailbox_receipt_scripts.c.
 *
 * A receipt is owed from the moment in which a message was acknowledged, recalled or expired: Redis
 * keeps it until mailbox_settle, whoever dies. Whoever is told of one puts it into its recipient's
 * mailbox (payment_pay) and then settles it.
 */
#ifndef WORKER_MAILBOX_RECEIPTS_H
#define WORKER_MAILBOX_RECEIPTS_H

#include "worker/mailbox/mailbox.h"

/* A receipt that somebody must be sent. */
struct mailbox_owed {
    struct slice text; /* what Redis knows it by, for mailbox_settle */
    struct slice state, to, from, in_reply_to, id;
    int64_t at_s; /* Unix seconds: since when */
    int level;
    struct seq stored; /* it lies in the mailbox of `to` already, and only this was not noted; zero:
                          it does not, or that is not known */
};
/* What an answer says is owed: borrowed for the callback, one after the other. */
struct mailbox_debts {
    const struct redis_reply *reply;
    size_t next;
};
/* False when there are no more. What is none is left out. */
bool mailbox_debts_next(struct mailbox_debts *debts, struct mailbox_owed *owed);

enum { MAILBOX_ACK_STEP = 64 }; /* messages that one ack tells of at once */
struct mailbox_range {
    struct seq first, last;
};
struct mailbox_acked {
    bool ok;   /* false: not known; ask again */
    bool more; /* the cursor has not been moved yet: ask again, the same */
    struct mailbox_debts debts;
};
typedef void (*mailbox_acked_cb)(void *arg, struct mailbox_acked *acked);
/* As mailbox_ack (a seq of zero: no cursor is moved), of messages among which some asked for a
 * receipt: what lies in the ranges and was not acknowledged by any device before is owed its
 * receipts. A bounded number at once. */
enum err mailbox_ack_asked(struct mailbox *mailbox, struct slice address, struct slice device,
                           struct seq seq, const struct mailbox_range *ranges, size_t range_count,
                           mailbox_acked_cb done, void *arg);
/* It has been sent. */
void mailbox_settle(struct mailbox *mailbox, struct slice owed_text);

struct mailbox_due {
    bool ok;
    bool more;        /* ask again at once */
    uint64_t expired; /* messages that were removed */
    struct mailbox_debts debts;
};
typedef void (*mailbox_due_cb)(void *arg, struct mailbox_due *due);
/* A bounded number of messages that have expired undelivered, in any mailbox, and of receipts that
 * another worker should have sent: from now they are this worker's for some seconds. */
enum err mailbox_due(struct mailbox *mailbox, mailbox_due_cb done, void *arg);

/* Notes what `from` has sent: records (sent.c). keep: the log's life begins anew, which must be
 * said now and then. */
enum err mailbox_note_sent(struct mailbox *mailbox, struct slice from, struct slice records,
                           bool keep);
struct mailbox_sent {
    bool ok, found;
    struct slice recipients; /* when found: one a line */
    bool more;               /* else: further ones lie before `last` */
    struct seq last;
};
typedef void (*mailbox_sent_cb)(void *arg, const struct mailbox_sent *sent);
/* Looks through a bounded number of entries, from before `before` (zero: the newest) on back. */
enum err mailbox_find_sent(struct mailbox *mailbox, struct slice from, struct slice id,
                           struct seq before, mailbox_sent_cb done, void *arg);

enum mailbox_recall_outcome {
    MAILBOX_NOT_THERE,
    MAILBOX_RECALLED,
    MAILBOX_WAS_READ, /* a device has acknowledged it: it stays */
    MAILBOX_RECALL_UNKNOWN,
};
struct mailbox_recalled {
    enum mailbox_recall_outcome outcome;
    struct mailbox_debts debts;
};
typedef void (*mailbox_recalled_cb)(void *arg, struct mailbox_recalled *recalled);
/* Takes the message of this sender and id out of the mailbox of `address`. */
enum err mailbox_recall(struct mailbox *mailbox, struct slice address, struct slice from,
                        struct slice id, mailbox_recalled_cb done, void *arg);

#endif
