/*
 * The sessions of an address on all hosts (its `:at`, worker/mailbox/place.h), and the leases by
 * which workers know each other to live.
 *
 * An error of a call is as of mailbox_append: done is not called. Without an error return the call
 * does its best: while Redis is away nothing is removed, and whoever next publishes to the place
 * finds no listener there and removes it.
 */
#ifndef WORKER_MAILBOX_PLACES_H
#define WORKER_MAILBOX_PLACES_H

#include "common/err.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/place.h"

/* Removes this worker's own field: it has no subscriber of the address any more. */
void mailbox_leave(struct mailbox *mailbox, struct slice address);
/* Removes the field of a session of this worker. */
enum err mailbox_leave_session(struct mailbox *mailbox, struct slice address, uint64_t number,
                               mailbox_done_cb done, void *arg);
/* A publish to that place reached no listener: removes all its fields, unless a worker listens
 * there by now. */
void mailbox_forget_place(struct mailbox *mailbox, struct slice address, struct slice place);

/* All sessions of an address, borrowed for the callback. ok false: not known. */
typedef void (*mailbox_where_cb)(void *arg, bool ok, const struct at_session *sessions,
                                 size_t count);
enum err mailbox_where(struct mailbox *mailbox, struct slice address, mailbox_where_cb done,
                       void *arg);
/* Only the fields, of sessions and of workers, borrowed for the callback; none when not known. */
typedef void (*mailbox_fields_cb)(void *arg, const struct slice *fields, size_t count);
enum err mailbox_fields(struct mailbox *mailbox, struct slice address, mailbox_fields_cb done,
                        void *arg);

struct mailbox_lease_answer {
    bool ok;
    uint64_t now_us; /* by the clock of Redis */
    uint64_t losses; /* counts lost doorbells, and leases that ended without a farewell */
    const struct slice *places; /* of all live workers, this one included; borrowed */
    size_t count;
};
typedef void (*mailbox_leased_cb)(void *arg, const struct mailbox_lease_answer *answer);
/* This worker lives, for so many seconds from now. When it had no lease before, hello (a frame) is
 * published to all other live workers. lost: doorbells that this worker rang may have been lost. */
enum err mailbox_lease(struct mailbox *mailbox, int64_t seconds, struct slice hello, bool lost,
                       mailbox_leased_cb done, void *arg);
/* The worker of that place does not live any more. */
void mailbox_end_lease(struct mailbox *mailbox, struct slice place);

#endif
