/*
 * Mailboxes in Redis (docs/protocol.md, section 5): every address has a log, a stream.
 *
 * Knows keys, scripts and their answers; does not know sessions, tickets or where anybody is beyond
 * what a script says. Everything here is asynchronous over one struct redis that the bus owns;
 * commands of one turn leave in one write. An append has exactly one outcome, told once: stored
 * (perhaps long ago: a repetition), refused, or unavailable before it was ever sent. One that was
 * sent and whose answer was lost is sent again, under the same id, when Redis is back: the script's
 * dedupe makes that safe.
 */
#ifndef WORKER_MAILBOX_H
#define WORKER_MAILBOX_H

#include "common/err.h"
#include "common/msg.h"
#include "common/seq.h"
#include "common/slice.h"
#include "config/config.h"
#include "worker/mailbox/place.h"
#include "worker/redis/redis.h"

#include <stdbool.h>
#include <stdint.h>

struct mailbox; /* a worker's door to all of them */

struct mailbox_events {
    /* Appends can be taken (again): everything that was unanswered has been sent again before this.
     * epoch names the stored data; changed: it is not what it was when this worker last knew it
     * (Redis came back empty or older): every session must be told. */
    void (*up)(void *arg, struct slice epoch, bool changed);
    void (*down)(void *arg);
    void *arg;
};

/* redis is borrowed and must outlive it (a mailbox that is gone still has answers coming); place is
 * this worker's name in `:at`
 * ("NODE:SLOT:INCARNATION"). NULL when out of memory. */
struct mailbox *mailbox_new(struct redis *redis, const struct config *config, struct slice place,
                            const struct mailbox_events *events);
/* Every callback that waits is told (UNAVAILABLE, or UNKNOWN when it was sent). Not from a callback
 * of its own. NULL is allowed. */
void mailbox_free(struct mailbox *mailbox);
/* The owner of redis tells: it is up, it is down. */
void mailbox_redis_up(struct mailbox *mailbox);
void mailbox_redis_down(struct mailbox *mailbox);
bool mailbox_is_up(const struct mailbox *mailbox);
/* The end of a turn, before redis_flush: what was put in leaves. With durability "replica" it also
 * asks for the replicas' word on the turn's appends. */
void mailbox_flush(struct mailbox *mailbox);
/* Has something come behind the flush, that must not wait for whenever the next turn is? */
bool mailbox_flush_again(const struct mailbox *mailbox);
/* Once a second: notices that data was lost, gives up what has waited too long. */
void mailbox_tick(struct mailbox *mailbox);
/* What keeps it from being up though Redis is ("" when nothing does), for a person: durability
 * "fsync" with a Redis that is not set so. Such a start must fail. */
const char *mailbox_fault(const struct mailbox *mailbox);
struct mailbox_counts {
    uint64_t trimmed, repeated, retried, errors, bad; /* as STAT_mailbox_* */
};
/* Since the last call. */
struct mailbox_counts mailbox_take_counts(struct mailbox *mailbox);
/* New limits from a reload (retention, full). */
void mailbox_configure(struct mailbox *mailbox, const struct config *config);

/* ---- append ---- */

enum mailbox_outcome {
    MAILBOX_STORED,
    MAILBOX_REPEATED, /* the same from and id within mailbox.dedupeSeconds: stored then, at seq */
    MAILBOX_FULL,     /* mailbox.full is "reject" */
    MAILBOX_UNASKED,  /* a letter with `reads`: no such message lies there that asked for it */
    MAILBOX_UNAVAILABLE, /* not stored: Redis is away, out of memory, read-only, or a wrong type is
                          * under the key; or durability was not reached in time (then it is stored,
                          * but not promised) */
    MAILBOX_UNKNOWN,     /* it was sent, and no answer could be had in half of
                          * mailbox.dedupeSeconds: it may or may not be stored. Neither accept nor
                          * reject it: close the sender's session */
};
struct mailbox_appended {
    enum mailbox_outcome outcome;
    /* Of the message, and of the one before it in this mailbox (zero: none; the same as seq: not
     * known, which is so for a repetition and for one that was sent twice: read the mailbox). */
    struct seq seq, before;
    const struct slice
        *elsewhere; /* fields of `:at` (worker/mailbox/place.h): where the address has sessions */
    size_t elsewhere_count;
};
typedef void (*mailbox_appended_cb)(void *arg, const struct mailbox_appended *appended);

struct mailbox_letter {
    struct slice address;     /* whose mailbox */
    struct slice from, id;    /* what makes it the same message */
    struct slice body;        /* as it is to be delivered, without seq; begins with '{' */
    struct msg *msg;          /* where the body lies: it is referenced, not copied; may be NULL */
    struct slice thread;      /* subjectId; data NULL: none */
    struct slice skip_device; /* of a copy for the sender's other devices: the one that sent it;
                                 data NULL: nobody is skipped */
    struct slice reads; /* of a receipt that says "read": the id of what `from` has read, which
                           `address` has sent; data NULL: it is none */
    int64_t expires_at; /* Unix seconds; 0: never */
    uint8_t receipt;    /* 0, 2, 3: asked for by the sender */
    int8_t level;
};
/* Borrows letter for the call (a copy is kept until answered). ERR_DOWN: nothing was or will be
 * stored. The callback is never called from inside this call; appends of this worker are carried
 * out in the order of the calls. */
enum err mailbox_append(struct mailbox *mailbox, const struct mailbox_letter *letter,
                        mailbox_appended_cb done, void *arg);

/* So much waits that whoever sends more should be read from later. */
bool mailbox_is_loaded(const struct mailbox *mailbox);

/* ---- a session begins and ends ---- */

struct mailbox_opened {
    bool ok;                /* false: Redis is away or refuses */
    bool known_device;      /* has a cursor */
    struct seq cursor;      /* of the device; zero when new */
    bool cursor_epoch_ok;   /* the cursor was written under the present epoch */
    struct seq first, last; /* oldest kept, newest ever (zero: none) */
    struct seq lost;        /* the newest message that retention has removed (zero: none) */
    uint32_t device_count;  /* devices that have a cursor, this one included */
    uint64_t opened_us;     /* of this session, see below */
    /* The address's other sessions, wherever they are; some may be those of dead workers. */
    const struct at_session *others;
    size_t other_count;
};
typedef void (*mailbox_opened_cb)(void *arg, const struct mailbox_opened *opened);
/* Who opens. The sessions of an address are in one order, on all hosts, by opened_us: microseconds
 * by the clock of Redis, larger than that of any other when the session is new. */
struct mailbox_entrant {
    struct slice device; /* may be empty */
    uint64_t number;     /* the session's; 0: the worker itself, for whatever it has there */
    uint64_t opened_us;  /* as an earlier answer gave it; 0: not yet known */
    bool late;           /* not yet known, and it began age_us ago, without Redis */
    uint64_t age_us;
};
/* Registers the device with a cursor if it has none, and the session in `:at`. */
enum err mailbox_enter(struct mailbox *mailbox, struct slice address,
                       const struct mailbox_entrant *entrant, mailbox_opened_cb done, void *arg);
/* The same for the worker itself. */
enum err mailbox_open(struct mailbox *mailbox, struct slice address, struct slice device,
                      mailbox_opened_cb done, void *arg);
/* The same for a group's log, but registers nobody: only this worker's place. `member` names whose
 * cursor is asked for (data NULL: nobody's); without one it is the newest. */
enum err mailbox_join(struct mailbox *mailbox, struct slice group, struct slice member,
                      mailbox_opened_cb done, void *arg);

/* ---- who is where (mailbox_places.c) ---- */

typedef void (*mailbox_done_cb)(void *arg, bool ok);
/* The worker itself has nothing of the address any more. */
void mailbox_leave(struct mailbox *mailbox, struct slice address);
/* The session is gone. done is told whether that is written down. */
enum err mailbox_leave_session(struct mailbox *mailbox, struct slice address, uint64_t number,
                               mailbox_done_cb done, void *arg);
/* A publish to that place was heard by nobody: what `:at` says of it is removed, unless somebody
 * listens there by now. */
void mailbox_forget_place(struct mailbox *mailbox, struct slice address, struct slice place);
/* All sessions of an address. ok false: not known. */
typedef void (*mailbox_where_cb)(void *arg, bool ok, const struct at_session *sessions,
                                 size_t count);
enum err mailbox_where(struct mailbox *mailbox, struct slice address, mailbox_where_cb done,
                       void *arg);

/* Only the fields of an address's `:at`: where it has anything, sessions or not; none when that
 * cannot be known now. */
typedef void (*mailbox_fields_cb)(void *arg, const struct slice *fields, size_t count);
enum err mailbox_fields(struct mailbox *mailbox, struct slice address, mailbox_fields_cb done,
                        void *arg);

struct mailbox_lease_answer {
    bool ok;
    uint64_t now_us;            /* by the clock of Redis */
    uint64_t losses;            /* how often doorbells were lost, or a lease ended without a word */
    const struct slice *places; /* all workers that live, this one included */
    size_t count;
};
typedef void (*mailbox_leased_cb)(void *arg, const struct mailbox_lease_answer *answer);
/* This worker lives, for so long from now. When that was not known, hello (a frame) is published to
 * everybody else who does. lost: doorbells that it rang may have been lost. */
enum err mailbox_lease(struct mailbox *mailbox, int64_t seconds, struct slice hello, bool lost,
                       mailbox_leased_cb done, void *arg);
/* That worker does not live any more. */
void mailbox_end_lease(struct mailbox *mailbox, struct slice place);

/* ---- reading ---- */

struct mailbox_entry {
    struct seq seq;
    struct slice body, from, id, skip_device; /* skip_device data NULL: none */
    int64_t expires_at;
    uint8_t receipt;
    int8_t level;
};
struct mailbox_page {
    bool ok;
    const struct mailbox_entry *entries; /* in order */
    size_t count;
    bool end; /* fewer than asked for: nothing lay behind them */
    /* Where to go on: of the last entry that was looked at, which may have been left out of entries
     * because it is not ours. Zero when there was none. */
    struct seq last;
};
typedef void (*mailbox_page_cb)(void *arg, const struct mailbox_page *page);
/* Entries after `after` (exclusive), at most `count`. */
enum err mailbox_read(struct mailbox *mailbox, struct slice address, struct seq after,
                      unsigned count, mailbox_page_cb done, void *arg);
/* Newest first, before `before` (zero: from the newest), at most `count`; thread data NULL: all. */
enum err mailbox_history(struct mailbox *mailbox, struct slice address, struct slice thread,
                         struct seq before, unsigned count, mailbox_page_cb done, void *arg);

/* ---- acknowledging ---- */

/* The device's cursor moves to seq (never back). NULL callback is allowed; told whether it was
 * stored. */
enum err mailbox_ack(struct mailbox *mailbox, struct slice address, struct slice device,
                     struct seq seq, mailbox_done_cb done, void *arg);

/* ---- service addresses: one mailbox, several sessions that share its work ---- */

/* One session of this worker. room: it can be given something now. */
struct mailbox_consumer {
    uint64_t number;
    bool room;
};
/* What is so, as far as this worker knows (mailbox_script_service.c): these are its sessions of the
 * address, all of them. All borrowed. */
struct mailbox_work {
    struct slice address;
    const struct mailbox_consumer *consumers;
    size_t consumer_count;
    const struct seq *acks; /* acknowledged, by whichever session */
    size_t ack_count;
    /* Places, separated by spaces: known to be dead, known to live. Of the others their leases
     * tell. */
    struct slice dead, alive;
    uint64_t again; /* the session of which it is not known that it has all it was given; 0: none */
    const struct seq *held; /* what that one has */
    size_t held_count;
    unsigned credit;
};
struct mailbox_given {
    uint64_t number; /* of the session */
    struct mailbox_entry entry;
};
struct mailbox_worked {
    bool ok;   /* false: perhaps it was carried out, perhaps not */
    bool more; /* there is more to do at once */
    bool busy; /* something is not acknowledged */
    /* Not given out: past its expiresAt, removed by retention first, not ours; and taken from
     * sessions that have gone. */
    uint64_t expired, gone, bad, moved;
    const struct slice *tell; /* places whose sessions have got something */
    size_t tell_count;
    const struct slice *places; /* all but this one that have sessions of the address */
    size_t place_count;
    const struct mailbox_given *given; /* in order */
    size_t given_count;
    const struct seq *unreadable; /* given, but no entry of ours: to be acknowledged */
    size_t unreadable_count;
};
typedef void (*mailbox_worked_cb)(void *arg, const struct mailbox_worked *worked);
enum err mailbox_work(struct mailbox *mailbox, const struct mailbox_work *work,
                      mailbox_worked_cb done, void *arg);

#endif
