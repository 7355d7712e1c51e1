/*
 * A session: one WebSocket connection that speaks for an address on a device.
 *
 * It registers itself in the worker's directory and in the shared table, so that it is found from
 * everywhere, and leaves both when it ends. A newer session of the same address and device takes
 * its place, wherever on the node that is.
 */
#ifndef WORKER_SESSION_H
#define WORKER_SESSION_H

#include "worker/wire/conn.h"
#include "worker/mailbox/feed.h"
#include "worker/wire/limiter.h"
#include "worker/session/office.h"
#include "worker/token/token.h"

struct carrier_standing;
struct opening;
struct receipts_job;
struct service_seat;
struct subscription;
struct ticket;

struct session {
    struct conn conn; /* first: a conn of an office is a session */
    struct office *office;
    struct directory_entry *entry; /* of its address */
    struct session *next_same;     /* of the same address on this worker */
    struct grant *grant;
    struct ticket *tickets,
        *tickets_last; /* answers that wait for mailboxes or workers, oldest first */
    uint64_t number; /* generation << 32 | index in office->sessions; unique in this incarnation */
    uint64_t began_ns; /* CLOCK_MONOTONIC */
    uint64_t since_ns; /* orders the sessions of an address: see session_open */
    uint64_t origin_key, errors_at_ms;
    struct limiter limiter;
    uint32_t shm_index;
    uint32_t errors; /* rejected messages in the current minute */
    struct feed feed;
    struct seq cursor; /* acknowledged */
    /* Known to be in the mailbox when the session began; from then on what the feed had queued when
     * the mailbox was last asked whether all is well. */
    struct seq newest;
    struct seq asked_first, asked_last;     /* between them lies what was sent to it, is perhaps not
                                               acknowledged, and asks for a receipt; zero: nothing */
    struct receipts_job *receipts;          /* that its acks cause; NULL: none */
    uint32_t sent_turn, sent_at, sent_kept; /* sent.c's alone */
    struct subscription *subscriptions;     /* to groups; that to "#all", if any, is the first */
    struct opening *opening; /* until it is known where the session stands; NULL afterwards */
    char *claim;             /* for as long; what the next two lie in */
    struct slice wanted_address, early;
    struct service_seat *seat; /* at a service address; NULL: it has a mailbox like anybody */
    uint32_t data_lost_count;  /* the office's, as this session has been told */
    uint8_t reopening;         /* questions of that kind without an answer */
    uint8_t stale_pages;       /* asked for by a feed that has begun anew since */
    bool stalled;              /* not read from, see session_stall */
    bool other_devices;        /* the address has others: they get copies of what is sent */
    bool in_all;               /* counted among those that "#all" means */
    bool listed;               /* in the directory and in the shared table */
    bool entered;              /* in the address's `:at`, or it may be */
    bool ordered;              /* since_ns is Redis's word: of all hosts */
    uint8_t device_len;
    char device[];
};

struct session_claim {
    struct slice address, device;
    struct grant *grant;       /* the session takes a reference of its own */
    uint64_t origin_key;       /* counted in origins already; the session gives it back */
    struct slice answer;       /* the 101 */
    struct slice early;        /* bytes that came behind the request */
    struct slice since, epoch; /* as given; data NULL: not */
};

/* Takes fd over; the caller has taken a seat, which the session gives back. Sends the answer and
 * asks the mailbox where the session stands; session_begin follows. NULL: fd is closed and nothing
 * is left behind. */
struct session *session_open(struct office *office, int fd, const struct session_claim *claim);
/* It is known where the session stands (NULL: nothing is stored, or Redis is away): it can be found
 * from here on, says `welcome`, turns older sessions of the same device out, is replayed to and
 * listened to. */
void session_begin(struct session *session, const struct carrier_standing *standing,
                   bool asked_replay);
/* since_ns has changed: the shared table is told. */
void session_relist(struct session *session);
void session_say_welcome(struct session *session, const struct carrier_standing *standing);
/* The session with this number, or NULL when it has gone. */
struct session *session_by_number(const struct office *office, uint64_t number);
static inline struct slice session_address(const struct session *session)
{
    return session->entry ? directory_address(session->entry) : session->wanted_address;
}
static inline struct slice session_device(const struct session *session)
{
    return (struct slice){ session->device, session->device_len };
}
/* `goodbye`, then the close handshake. code and what it tells the client: docs/protocol.md
 * section 7. */
void session_say_goodbye(struct session *session, uint16_t code, const char *message,
                         uint32_t retry_after_ms);
/* A fresh grant for the same session (renew): its end is the session's new end. */
void session_renew(struct session *session, struct grant *grant);
/* After a reload: ends sessions whose token has been revoked. */
void session_check_revoked(struct office *office);
/* After the bus was away: closes sessions here that a newer one elsewhere has replaced meanwhile.
 */
void session_check_replaced(struct office *office);
/* Goodbye to the sessions from place *cursor on, at most `count` of them; moves the cursor. Returns
 * false when all have been told. */
bool session_drain_some(struct office *office, uint32_t *cursor, unsigned count, uint16_t code,
                        uint64_t patience_at_ms);

/* Nothing more is read from it until session_stalled_go_on: it sends faster than is stored. */
void session_stall(struct session *session);
/* At the end of a turn: when little enough waits to be stored, they are read from again. */
void session_stalled_go_on(struct office *office);

/* A message was rejected; past limits.errorsPerMinute the session ends with 4503. */
void session_count_error(struct session *session);

/* For the host's conn_calls. */
void session_on_deadline(struct conn *conn);
void session_on_closing(struct conn *conn);
void session_on_gone(struct conn *conn);

#endif
