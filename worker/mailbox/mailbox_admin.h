/*
 * What an operator asks of mailboxes: a look at one, the removal of its oldest messages, and what a
 * recipient's mailbox knows of a message.
 *
 * Answers are borrowed for their callback. An error of a call is as of mailbox_append: done is not
 * called.
 */
#ifndef WORKER_MAILBOX_ADMIN_H
#define WORKER_MAILBOX_ADMIN_H

#include "common/err.h"
#include "common/seq.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/place.h"

struct mailbox_look {
    bool ok, known;    /* known: Redis has something of the address */
    uint64_t count;    /* of messages */
    uint64_t bytes;    /* of bodies that count for mailbox.maxBytes */
    struct seq oldest; /* zero: the mailbox is empty */
    struct seq newest; /* that the mailbox ever had */
    struct seq lost;   /* the newest that retention or a purge removed; zero: none */
    struct slice seen; /* devices without a cursor, for mailbox_look_seen */
    const struct at_session *sessions; /* at most about a thousand */
    size_t session_count;
    struct mailbox *mailbox;
    const struct redis_reply *reply;
};
typedef void (*mailbox_look_cb)(void *arg, struct mailbox_look *look);
/* with_devices: devices and sessions too. */
enum err mailbox_look(struct mailbox *mailbox, struct slice address, bool with_devices,
                      mailbox_look_cb done, void *arg);

struct mailbox_device {
    struct slice name;
    struct seq cursor;
    bool is_present_epoch; /* the cursor is of the data that Redis has now */
    bool has_acknowledged; /* false: the device has connected, and `cursor` is where its gaps begin
                            */
};
/* The devices of a look, one after the other; *at begins with 0. False: there are no more. */
bool mailbox_look_next(struct mailbox_look *look, size_t *at, struct mailbox_device *device);

/* Where a purge ends; zeroed for a purge of all that the mailbox has when the purge begins. */
struct mailbox_purge_end {
    char text[SEQ_TEXT_MAX + 1];
};
/* Only messages before `before` go. */
void mailbox_purge_before(struct mailbox_purge_end *end, struct seq before);

struct mailbox_purged {
    bool ok, more;           /* more: call again, with `end` */
    uint64_t removed, bytes; /* in this call */
    struct mailbox_purge_end end;
};
typedef void (*mailbox_purged_cb)(void *arg, const struct mailbox_purged *purged);
/* Removes a bounded number of the oldest messages. Readers learn of a gap. */
enum err mailbox_purge(struct mailbox *mailbox, struct slice address,
                       const struct mailbox_purge_end *end, mailbox_purged_cb done, void *arg);

enum mailbox_trace_state {
    MAILBOX_TRACE_NONE,      /* the mailbox knows nothing of the message (any more) */
    MAILBOX_TRACE_STORED,    /* lies there */
    MAILBOX_TRACE_DELIVERED, /* lies there, and a device has acknowledged it */
    MAILBOX_TRACE_REMOVED,   /* was taken out a short time ago */
    MAILBOX_TRACE_UNKNOWN,   /* Redis has not said */
};
struct mailbox_trace {
    enum mailbox_trace_state state;
    struct seq seq; /* in the recipient's mailbox */
    /* In the sender's mailbox (recalled: or in the recipient's); zero: there is none. */
    struct seq delivered, read, recalled, expired;
    int64_t expires_at; /* Unix seconds; 0: never, or not known */
};
typedef void (*mailbox_trace_cb)(void *arg, const struct mailbox_trace *trace);
enum err mailbox_trace(struct mailbox *mailbox, struct slice address, struct slice from,
                       struct slice id, mailbox_trace_cb done, void *arg);

#endif
