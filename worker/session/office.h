/*
 * The office: the state that the rooms of one worker share. Made by worker.c and passed by pointer;
 * there is no global.
 */
#ifndef WORKER_OFFICE_H
#define WORKER_OFFICE_H

#include "common/arena.h"
#include "config/config.h"
#include "shm/region.h"
#include "shm/sessions.h"
#include "shm/stats.h"
#include "worker/wire/conn.h"
#include "worker/session/directory.h"
#include "worker/io/loop.h"
#include "worker/wire/tls.h"

#include <stdint.h>

struct allowances;
struct budgets;
struct bus;
struct doorbell;
struct groups;
struct session_opening;
struct leaving;
struct mailbox;
struct nodes;
struct reach;
struct remote;
struct revocations;
struct revoked;
struct sent;
struct service;
struct session;
struct token_memory;

/* How many counts of turns there are, by the key of a service address. */
enum { SERVICE_TURNS = 256 };

enum { OPENINGS_BUCKETS = 1024 };

struct office {
    struct loop *loop;
    struct config *config; /* in force; replaced by a reload */
    struct region *region;
    struct stats_row *stats;
    struct sessions_writer *table; /* this worker's rows in the shared table */
    struct arena arena;            /* of the message in hand; reset before each message */
    const char *node;              /* node.id */
    struct tls_server *tls;        /* certificates for new connections; NULL: none are configured */
    struct tickets *tickets;       /* keys of TLS tickets; the master's */
    uint32_t slot;
    uint64_t incarnation;

    /* session.c: every session by the index in its number; a free index has NULL. */
    struct session **sessions;
    uint32_t session_size, session_used;
    uint32_t *free_indexes;
    uint32_t free_count;
    uint32_t next_generation;
    uint32_t inflation_held;    /* inflation.c: sessions that wait */
    uint32_t inflation_next;    /* the index where the next of them is looked for */
    uint64_t inflation_wake_ms; /* none of them may go on earlier */
    bool stalled;               /* some sessions are, see session_stall */
    bool stalled_by_load;       /* all letters together were too many */
    bool is_relaying;           /* the message in hand has come from another worker */
    struct conn_host host;
    struct directory directory;

    /* Redis and the other workers. */
    struct bus *bus;
    struct reach *reach;     /* through the bus or through rings */
    struct mailbox *mailbox; /* NULL: no Redis is configured */
    struct nodes *nodes;     /* workers of other hosts; NULL: no Redis is configured */
    char epoch[40];          /* the name of the stored data; "": not known yet */
    int64_t clock_ahead_ns;  /* the clock of Redis less CLOCK_MONOTONIC; until Redis has said, the
                              * wall clock is taken for it; 0: no Redis is configured */
    uint32_t questions;      /* far_signal.c: questions to Redis without an answer */

    struct token_memory *tokens;   /* token_desk.c: good ones, remembered; NULL: none are */
    struct allowances *allowances; /* session/allowance.c; NULL: none yet */
    struct groups *groups;         /* with subscribers here */
    struct service *service;       /* this worker's part in service addresses */
    struct sent *sent;             /* sent.c: entries of this turn; NULL: none yet */
    struct budgets *budgets;       /* budget.c: what senders have stored; NULL: none yet */
    bool expiry_asked;             /* expiry.c: a question is on its way */

    /* entrance/revoked.c, and its table. NULL: nothing is revoked so (tests). */
    struct revoked *revoked;
    struct revocations *revocations;

    /* catch_up.c. Any room may set catch_up_again: a mailbox or a log could not be read though
     * Redis is there, so all sessions catch up again in a few seconds. */
    uint32_t data_lost_count; /* how often Redis came back empty or older */
    uint32_t catch_up_at;     /* the index of the next session; UINT32_MAX: none */
    bool catch_up_lightly;    /* sessions only read on */
    bool catch_up_again;

    /* openings.c: openings of mailboxes that are under way or wait, the oldest of a bucket first.
     */
    struct session_opening *openings[OPENINGS_BUCKETS];

    /* whereabouts.c: sessions that have ended and whose entries are still in `:at`. */
    struct leaving *leaving;
    uint32_t leaving_count;

    uint64_t silence_log_s;     /* life.c: the second of the last line about a silent session */
    uint32_t silence_log_count; /* lines in that second; past a bound they are only counted */

    bool draining;
    uint16_t drain_code;
    bool closed; /* the worker ends: nothing is kept for later */

    uint32_t service_turns[SERVICE_TURNS]; /* of service_turn_next alone */

    /* The way up; worker.c sets both. */

    /* doorbell_ring: messages have been stored, and their sessions are to be told. */
    void (*ring)(struct office *office, const struct doorbell *stored, struct remote *remote,
                 struct slice skip_device, struct msg *msg);
    /* service_news: a message has been stored in the mailbox of this service address. */
    void (*work)(struct office *office, struct slice address);
};

#endif
