/*
 * What the files of the mailbox share, and no other room sees: struct mailbox itself, the names of
 * keys, the scripts, and the small services that every file uses.
 *
 * From the bottom up, and nothing calls upwards: mailbox_keys.c (names of keys), the scripts,
 * mailbox_trouble.c (errors of Redis); turns.c, row.c and ask.c (commands without an answer),
 * call.c (how a command is put together); mailbox_answer.c and mailbox_page.c (how answers are
 * read); mailbox_replica.c and mailbox_batch.c (what happens to the row); mailbox_pages.c (pages on
 * their way) and mailbox_large.c (pages of one large message); mailbox_body.c (bodies that letters
 * share); the commands, a file a subject; mailbox_ready.c (from a connected Redis to a usable one);
 * mailbox.c (life and state).
 */
#ifndef WORKER_MAILBOX_PARTS_H
#define WORKER_MAILBOX_PARTS_H

#include "common/buf.h"
#include "common/seq.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/turns.h"

#include <sys/queue.h>

/* ---- names (mailbox_keys.c) ---- */

/* Appends PREFIX{ADDRESS}SUFFIX to out. Every byte that a client chose and that could break the
 * braces (they keep all keys of an address together in a cluster) or a terminal is escaped. */
void mailbox_key(struct buf *out, struct slice prefix, struct slice address, const char *suffix);

enum { THREAD_KEY_MAX = 64 };
/* A thread's name in the index: the thread itself, or "~" and its SHA-1 when the thread is long or
 * holds a NUL. Borrows thread and room. */
struct slice mailbox_thread_key(struct slice thread, char room[THREAD_KEY_MAX]);

/* ---- scripts (mailbox_scripts.c; the texts: worker/mailbox/lua/) ---- */

enum script {
    SCRIPT_APPEND,
    SCRIPT_APPEND_MANY,
    SCRIPT_OPEN,
    SCRIPT_ACK,
    SCRIPT_PAGE,
    SCRIPT_THREAD,
    SCRIPT_TICK,
    SCRIPT_NEWEST,
    SCRIPT_FORGET,
    SCRIPT_LEASE,
    SCRIPT_APPEND_NOTED, /* of a message that asks for a receipt or expires */
    SCRIPT_APPEND_READ,  /* of a receipt that says "read" */
    SCRIPT_ACK_ASKED,    /* an ack of messages that asked for a receipt */
    SCRIPT_DUE,
    SCRIPT_FIND_SENT,
    SCRIPT_RECALL,
    SCRIPT_JOIN,
    SCRIPT_SERVICE,
    SCRIPT_SPEND,
    SCRIPT_LOOK, /* of an operator (mailbox_admin.h), and the two below */
    SCRIPT_PURGE,
    SCRIPT_TRACE,
    SCRIPT_REVOKE,
    SCRIPT_REVOKED,
    SCRIPT_COUNT,
    SCRIPT_NONE = SCRIPT_COUNT
};
enum { SHA_HEX = 40 };
struct retention {
    int64_t messages_max, age_s, dedupe_s, devices_max;
    bool reject_full;
    int64_t bytes_max;
    int64_t known_s; /* an address stays known so long; 0: mailbox.addresses is "any" */
};
/* The text of a script as this worker loads the text, NUL-terminated; the caller frees the text.
 * NULL: out of memory. `name` becomes a comment in the text: mailbox_scripts.c says why. */
char *mailbox_script(enum script script, struct slice name, const struct retention *retention);
/* The name of a text for EVALSHA. */
void mailbox_script_sha(const char *text, char hex[SHA_HEX + 1]);

/* ---- the mailbox ---- */

enum mailbox_state {
    MAILBOX_DOWN,  /* Redis is away */
    MAILBOX_STALE, /* scripts, settings and epoch must be checked before anything is sent */
    MAILBOX_UP
};

/* mailbox_replica.c: how far the question about the replicas is. */
enum replica_round {
    ROUND_NONE,
    ROUND_MARKING, /* the mark is on its way, behind the appends */
    ROUND_WAITING, /* WAIT is under way */
};

/* Commands without an answer (row.h), in the order of sending; letters that wait before the row. */
struct row {
    struct op_list ops;
    size_t count, bytes; /* those that wait included */
    size_t queued_count; /* in ops: not sent, or to be sent again */
    bool put_late;       /* an op was put after the flush */
    struct op *newest;   /* row_last */
    struct turns turns;
};
/* Pages on their way (mailbox_pages.h). */
struct page_waiting;
TAILQ_HEAD(page_list, page_waiting);
enum { PAGES_SEATS = 16, PAGES_ACCOUNTS = 1024 };
struct pages {
    struct page_list waiting;
    uint64_t bytes; /* that the pages which have been asked for may have */
    uint8_t hash_key[16];
    uint64_t seats[PAGES_SEATS]; /* hashes of the addresses that have a page under way; 0: free */
    /* Until when the pages of an address have used its part of Redis's time, by that hash. */
    uint64_t used_until_us[PAGES_ACCOUNTS];
    /* The address's next message is probably large (mailbox_large.h), by that hash. */
    bool large[PAGES_ACCOUNTS];
    uint64_t wake_us; /* when the next address that pauses may go on; UINT64_MAX: none pauses */
};
struct ask;
TAILQ_HEAD(ask_list, ask);

struct mailbox {
    struct redis *redis;
    struct mailbox_events events;
    char *prefix, *place;
    char *scripts[SCRIPT_COUNT];
    char shas[SCRIPT_COUNT][SHA_HEX + 1];
    bool fsync, replica; /* mailbox.durability */
    int64_t replicas, replica_timeout_ms;
    int64_t command_timeout_ms;
    struct retention retention;
    size_t counted_min; /* larger bodies count for mailbox.maxBytes: mailbox_append.c */

    enum mailbox_state state;
    bool announced; /* events.up was called last, not events.down */
    char fault[320];
    char policy_logged[24]; /* the maxmemory-policy that was warned of last */
    bool volatile_logged;   /* that Redis keeps nothing on disk was warned of */

    struct row row;
    struct pages pages;
    struct ask_list asks; /* the mailbox's own questions without an answer (ask.h) */

    struct redis *confirm; /* the connection that WAITs; NULL: durability is not "replica" */
    enum replica_round round;
    uint64_t round_number; /* the mark of this round; even (mailbox_replica.c) */
    bool round_same;       /* both connections reach the same Redis */
    bool unconfirmed;      /* appends were sent since the last mark */

    bool scripts_missing; /* a command met a Redis without them: prepare at the end of the turn */
    bool preparing, ticking;
    char epoch[24]; /* "" until it is known */
    int64_t tick;
    bool lost; /* the newest append that was answered is not in Redis any more */
    char newest_key[400];
    struct seq newest; /* zero: none */

    struct buf text;      /* what the call at hand has composed (call.h) */
    struct slice *places; /* room for the places of one answer */
    size_t places_size;
    struct at_session *at; /* room for the sessions of one answer */
    size_t at_size;
    struct mailbox_entry *entries; /* room for one page */
    size_t entries_size;
    uint64_t body_count; /* bodies put so far: mailbox_body.c makes their names of it */
    struct mailbox_counts counts;
};

/* The row is sent only while less than this waits for the socket, so that neither a turn of the
 * loop nor the connection's buffer grows further by it. */
enum { BACKLOG_BYTES_MAX = 4 << 20 };

/* mailbox_redis.c: asks Redis about its settings. The answers warn of settings that lose mail, and
 * set mailbox->fault for a Redis that cannot be used. */
enum err mailbox_ask_redis(struct mailbox *mailbox);

/* mailbox_trouble.c: an error of Redis is counted, and logged once a second for each kind. */
void mailbox_trouble(struct mailbox *mailbox, struct slice text);

/* mailbox_batch.c: sends what is queued, in order. */
void mailbox_send_queued(struct mailbox *mailbox);

/* mailbox_ready.c: asks for all that must be known before the mailbox is up; events.up follows.
 * Does nothing while these questions are on their way. */
void mailbox_prepare(struct mailbox *mailbox);
/* The question of each second: is the data the same as a second ago? */
void mailbox_ask_tick(struct mailbox *mailbox);

/* mailbox_places.c */

#endif
