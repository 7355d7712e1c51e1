/*
 * A session begins at a mailbox, a worker joins the log of a group: one script each, which enters
 * the newcomer into `:at` (worker/mailbox/place.h) and answers where the log and the cursor stand.
 */
#ifndef WORKER_MAILBOX_ENTER_H
#define WORKER_MAILBOX_ENTER_H

#include "common/err.h"
#include "common/seq.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/place.h"

struct mailbox_opened {
    bool ok;               /* false: Redis is away or refuses; nothing below counts */
    bool known_device;     /* has a cursor */
    struct seq cursor;     /* of the device; zero when new */
    bool cursor_epoch_ok;  /* the cursor was written under the present epoch */
    struct seq last;       /* the newest message ever (zero: none) */
    struct seq lost;       /* the newest message that retention has removed (zero: none) */
    uint32_t device_count; /* devices that have a cursor, this one included */
    uint64_t opened_us;    /* of this session, see struct mailbox_entrant */
    /* The address's other sessions on all hosts; a session may be one of a dead worker. Borrowed
     * for the callback. */
    const struct at_session *others;
    size_t other_count;
};
typedef void (*mailbox_opened_cb)(void *arg, const struct mailbox_opened *opened);

/* The sessions of an address are in one order, on all hosts, by opened_us: microseconds by the
 * clock of Redis, larger than that of any other session when this one is new. */
struct mailbox_entrant {
    struct slice device; /* may be empty */
    uint64_t number;     /* the session's; 0: the worker itself */
    uint64_t opened_us;  /* as an earlier answer gave it; 0: not yet known */
    bool late;           /* not yet known, and the session began age_us ago, without Redis */
    uint64_t age_us;
};
/* Registers the device with a cursor if it has none, and the session in `:at`. An error as of
 * mailbox_append: done is not called. */
enum err mailbox_enter(struct mailbox *mailbox, struct slice address,
                       const struct mailbox_entrant *entrant, mailbox_opened_cb done, void *arg);
/* Registers this worker's place at a group's log, and no device (mailbox_join.c). `member` names
 * the device whose cursor is asked for (data NULL: no cursor is asked for). Without a cursor the
 * answer's cursor is `last`. */
enum err mailbox_join(struct mailbox *mailbox, struct slice group, struct slice member,
                      mailbox_opened_cb done, void *arg);

#endif
