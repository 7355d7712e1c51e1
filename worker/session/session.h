/*
 * The record of a session: one WebSocket connection that speaks for an address on a device.
 *
 * The record knows its number, how the session is found (in the worker's directory and in the
 * shared table), what every part of the worker remembers about the session, and how the session is
 * spoken to. How a session begins and ends stands in worker/entrance/life.h; how a session gets its
 * stored mail stands behind `supply`.
 */
#ifndef WORKER_SESSION_H
#define WORKER_SESSION_H

#include "common/ip.h"
#include "worker/mailbox/reader.h"
#include "worker/mailbox/standing.h"
#include "worker/session/directory.h"
#include "worker/session/office.h"
#include "worker/token/token.h"
#include "worker/wire/conn.h"

struct allowance;
struct errands;
struct receipts_job;
struct service_seat;
struct session_opening;
struct subscription;
struct ticket;

/* How a session gets its stored mail: from its own mailbox (delivery/carrier.c), or as a share of a
 * service address's work (service/service.c). One constant table each; never NULL in a session. */
struct session_supply {
    /* `welcome` has been sent. The replay begins behind `after`; newest: the mailbox's last message
     * when the mailbox was opened. */
    void (*start)(struct session *session, struct seq after, struct seq newest);
    /* The mailbox was opened again, because Redis or the doorbells were away. queued: the reader's
     * position when the mailbox was asked. */
    void (*reopened)(struct session *session, const struct mailbox_opened *opened,
                     struct seq queued);
    /* Doorbells may have been missed, and nothing else: the mailbox is read on. */
    void (*read_on)(struct session *session);
    /* msg has been stored at seq in the mailbox of the session's address; before: the message that
     * lies before it there. Sessions of skip_device do not get msg; data NULL: none is skipped. */
    void (*offer)(struct session *session, struct seq seq, struct seq before,
                  struct slice skip_device, struct msg *msg);
    /* The client acknowledges up to seq. False when nothing that was sent to this session is
     * meant. */
    bool (*ack)(struct session *session, struct seq seq);
    /* A stored message has left whole. */
    void (*left)(struct session *session, struct outbox_position position);
    /* The connection has room for more. */
    void (*has_room)(struct session *session);
};

/* The receipts that the session's acknowledgements cause (delivery/receipts.c). */
struct session_receipts {
    /* Messages that ask for a receipt, and that are perhaps not acknowledged, lie between these
     * two; zero: there is none. */
    struct seq asked_first, asked_last;
    struct receipts_job *job; /* NULL: nothing is on its way to Redis */
};

/* The session's part in the log of sent messages (delivery/sent.c). */
struct session_sent {
    uint32_t turn, at, kept;
};

struct session {
    struct conn conn; /* first: a conn of an office is a session */
    struct office *office;
    struct grant *grant;
    const struct session_supply *supply;

    /* Its name: generation << 32 | index in office->sessions; unique in this incarnation. */
    uint64_t number;
    uint64_t began_ns; /* CLOCK_MONOTONIC */
    uint64_t since_ns; /* orders the sessions of an address, see entrance/rivals.h */
    uint64_t origin_key;
    struct ip ip; /* of the client, as the door knows it */

    struct directory_entry *entry; /* of the address; NULL before the session is listed */
    struct session *next_same;     /* of the same address on this worker */
    uint32_t shm_index;            /* of the row in the shared table */

    uint32_t errors; /* rejected messages in the minute that began at errors_at_ms */
    uint64_t errors_at_ms;
    struct allowance *allowance; /* of the address, on this worker; NULL: no limit holds */

    struct session_opening *opening;       /* NULL once the session has begun */
    struct ticket *tickets, *tickets_last; /* answers that are not known yet, oldest first */
    struct reader reader;                  /* of the mailbox */
    struct seq cursor;                     /* acknowledged up to here */
    struct session_receipts receipts;
    struct session_sent sent;
    struct errands *errands;            /* commands that Redis is asked for; NULL: none */
    struct subscription *subscriptions; /* to groups; that to "#all", if any, is the first */
    struct service_seat *seat;          /* at a service address; NULL: the session has a mailbox */
    uint32_t data_lost_count;           /* the office's, as far as this session has been told */

    uint8_t reopenings;  /* questions of entrance/catch_up.c without an answer */
    bool stalled;        /* not read from, see session_stall */
    bool inflation_held; /* not read from, see inflation.h */
    bool errands_held;   /* not read from, see session_hold_for_errands */
    bool other_devices;  /* the address has others: they get copies of what is sent */
    bool is_desk;        /* of life_open_desk: takes no seat, and cannot be found */
    bool in_all;         /* counted among the subscribers of "#all" */
    bool listed;         /* in the directory and in the shared table */
    bool entered;        /* in the address's `:at`, or it may be */
    bool ordered;        /* since_ns is by the clock of Redis, and so comparable among hosts */
    uint8_t device_len;
    char device[];
};

/* What a session needs until it begins: the claim, copied, and the client's position. */
struct session_opening {
    struct session *session; /* NULL: the session has ended; Redis still has a question */
    struct office *office;
    struct session_opening *next; /* entrance/openings.c */
    struct standing_since since;
    bool listed, has_turn;       /* entrance/openings.c */
    bool asked;                  /* Redis has a question, whose answer frees this memory */
    struct slice address, early; /* in text; early: bytes that came behind the HTTP request */
    char text[];
};

/* The session of a connection of an office. */
static inline struct session *session_of(struct conn *conn)
{
    return (struct session *)conn;
}
static inline struct slice session_address(const struct session *session)
{
    return session->entry ? directory_address(session->entry) : session->opening->address;
}
static inline struct slice session_device(const struct session *session)
{
    return (struct slice){ session->device, session->device_len };
}

/* ---- numbers ---- */

/* Gives the session its number and its index in office->sessions. ERR_NOMEM. */
enum err session_number_take(struct session *session);
/* Gives the index back. */
void session_number_leave(struct session *session);
/* The session with this number, or NULL when the session has gone. */
struct session *session_by_number(const struct office *office, uint64_t number);
/* The same, and NULL also when the session is closing. */
struct session *session_open_by_number(const struct office *office, uint64_t number);

/* ---- how the session is found ---- */

/* Enters the session into the directory and into the shared table. ERR_NOMEM; ERR_FULL: the table
 * has no room. */
enum err session_list(struct session *session, struct slice address);
/* Takes the session out of both; does nothing when the session is in neither. */
void session_unlist(struct session *session);
/* since_ns has changed: the row in the shared table is written again. */
void session_relist(struct session *session);

/* ---- speaking to the session ---- */

/* Sends the server's own message, and drops the caller's reference. NULL (no memory), or no memory
 * to queue the message: the connection is aborted, since the client must not wait for an answer
 * that cannot come. */
void session_say(struct session *session, struct msg *msg);
/* The same, but the message takes its place among the mail of this level. (session_say makes an
 * answer, which leaves before all that waits.) */
void session_say_at_level(struct session *session, struct msg *msg, int8_t level);
/* Returns `welcome`, owned by the caller; NULL: no memory. */
struct msg *session_welcome(const struct session *session, const struct standing *standing);
void session_say_welcome(struct session *session, const struct standing *standing);
/* `goodbye`, then the close handshake. code and its meaning for the client: docs/protocol.md
 * section 7.4. */
void session_say_goodbye(struct session *session, uint16_t code, const char *message,
                         uint32_t retry_after_ms);
/* A message was rejected; past limits.errorsPerMinute the session ends with 4503. */
void session_count_error(struct session *session);

/* A signal or mail has been queued for a session as news, not read from a mailbox. */
static inline void session_count_delivery(const struct office *office)
{
    stats_add(office->stats, office->is_relaying ? STAT_deliveries_relayed : STAT_deliveries_own,
              1);
}

/* ---- answers that are owed ---- */

/* An answer has been said: a connection that waits for the last one closes now. */
void session_check_answered(struct session *session);
/* For conn_calls: does a message or a command of the session wait for its answer? */
bool session_owes_answers(struct conn *conn);
/* For conn_calls: `goodbye`, where the close code is one of the server's own. */
void session_last_word(struct conn *conn, uint16_t code, struct slice reason);

/* ---- reading from the session ---- */

/* Stops reading until session_resume_stalled: the client sends faster than Redis stores. */
void session_stall(struct session *session);
/* Stops reading from the session, or goes on reading: the answers that its commands will bring are
 * too many, or are not. */
void session_hold_for_errands(struct session *session, bool hold);
/* Reads from the session again, unless the session is stalled or held for something else. */
void session_read_on(struct session *session);
/* The end of a turn: when little enough waits to be stored, stalled sessions are read again. */
void session_resume_stalled(struct office *office);

/* ---- the token ---- */

/* Takes a reference of grant: the session ends when grant ends. */
void session_renew(struct session *session, struct grant *grant);
/* After `welcome`: the connection's deadline is the end of the token. */
void session_set_deadline(struct session *session);
/* For conn_calls: the deadline has come. */
void session_on_deadline(struct conn *conn);
/* Ends the session, if its token, or the address of its token, is revoked. */
void session_end_if_revoked(struct session *session);
/* After a reload: ends the sessions whose token, or the address of whose token, is revoked. */
void session_check_revoked(struct office *office);

/* ---- leaving ---- */

/* Says goodbye to at most `count` sessions from index *cursor on, and moves the cursor. Returns
 * false when no session is left. */
bool session_drain_some(struct office *office, uint32_t *cursor, unsigned count, uint16_t code,
                        uint64_t patience_at_ms);

#endif
