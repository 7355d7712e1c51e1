/*
 * Work of a service address: one mailbox, several sessions that share its messages. One script does
 * everything (mailbox_service.c): the call says which sessions this worker has and what they have
 * acknowledged, the answer brings the messages that fell to them.
 */
#ifndef WORKER_MAILBOX_SERVICE_H
#define WORKER_MAILBOX_SERVICE_H

#include "common/err.h"
#include "worker/mailbox/mailbox_read.h"

/* One session of this worker. room: it can be given messages now. */
struct mailbox_consumer {
    uint64_t number;
    bool room;
};
/* The state as this worker knows it. All borrowed for the call. */
struct mailbox_work {
    struct slice address;
    const struct mailbox_consumer *consumers; /* all sessions of the address at this worker */
    size_t consumer_count;
    const struct seq *acks; /* acknowledged, by whichever session */
    size_t ack_count;
    struct slice dead, alive; /* places, separated by spaces, known to be dead or alive; the leases
                               * decide about all others */
    uint64_t again;           /* a session that may have missed messages given to it; 0: none */
    const struct seq *held;   /* the messages that this session did get */
    size_t held_count;
    unsigned credit;
};
struct mailbox_given {
    uint64_t number; /* of the session */
    struct mailbox_entry entry;
};
/* Borrowed for the callback. */
struct mailbox_worked {
    bool ok;   /* false: perhaps carried out, perhaps not */
    bool more; /* there is more to do: call again at once */
    bool busy; /* some message is not acknowledged */
    /* Messages that no session was given: past their expiresAt, removed by retention first, of a
     * foreign shape. moved: messages taken from sessions that have gone. */
    uint64_t expired, gone, bad, moved;
    const struct slice *tell; /* places whose sessions were given messages: ring there */
    size_t tell_count;
    const struct slice *places; /* all but this worker's that have sessions of the address */
    size_t place_count;
    const struct mailbox_given *given; /* in order */
    size_t given_count;
    const struct seq *unreadable; /* given, but of a foreign shape: to be acknowledged */
    size_t unreadable_count;
};
typedef void (*mailbox_worked_cb)(void *arg, const struct mailbox_worked *worked);
/* An error is as of mailbox_append: done is not called. */
enum err mailbox_work(struct mailbox *mailbox, const struct mailbox_work *work,
                      mailbox_worked_cb done, void *arg);

#endif
