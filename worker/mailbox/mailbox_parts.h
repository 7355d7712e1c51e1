/*
 * What the files of the mailbox share, and nobody else sees: mailbox.c (its life, the row of
 * commands without an answer), mailbox_ready.c (from a connected Redis to a usable one, the epoch),
 * mailbox_batch.c (sending the row), mailbox_keys.c (names and positions), mailbox_scripts.c and
 * mailbox_script_append.c (what runs inside Redis), mailbox_append.c, mailbox_read.c,
 * mailbox_join.c and mailbox_places.c (the commands), mailbox_page.c (entries out of answers),
 * mailbox_receipt_scripts.c and mailbox_receipts.c (receipts, recall, expiry).
 */
#ifndef WORKER_MAILBOX_PARTS_H
#define WORKER_MAILBOX_PARTS_H

#include "common/buf.h"
#include "common/msg.h"
#include "worker/mailbox/mailbox.h"

#include <sys/queue.h>

/* ---- names (mailbox_keys.c) ---- */

/* Appends PREFIX{ADDRESS}SUFFIX to out. What a client chose is escaped, so that it can neither
 * break the braces, which keep all keys of an address together in a cluster, nor a terminal. */
void mailbox_key(struct buf *out, struct slice prefix, struct slice address, const char *suffix);

enum { THREAD_KEY_MAX = 64 };
/* A thread's name in the index: itself, or "~" and its SHA-1 when it is long or holds a NUL. */
struct slice mailbox_thread_key(struct slice thread, char room[THREAD_KEY_MAX]);

/* ---- scripts (mailbox_scripts.c) ---- */

enum script {
    SCRIPT_APPEND,
    SCRIPT_APPEND_MANY,
    SCRIPT_OPEN,
    SCRIPT_ACK,
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
    SCRIPT_COUNT,
    SCRIPT_NONE = SCRIPT_COUNT
};
enum { SHA_HEX = 40 };
extern const char mailbox_service_text[]; /* mailbox_script_service.c */
struct retention {
    int64_t messages_max, age_s, dedupe_s;
    bool reject_full;
};
extern const char mailbox_join_text[]; /* mailbox_join.c */
/* The text of a script as this worker loads it, with a NUL behind it; the caller's to free, NULL
 * when out of memory. `name` goes into it as a comment: see mailbox_scripts.c. */
char *mailbox_script(enum script script, struct slice name, const struct retention *retention);
/* A script that has another inside (mailbox_receipt_scripts.c); one that has none is its own. */
struct script_wrap {
    const char *before;
    enum script inner;
    const char *after;
};
struct script_wrap mailbox_script_wrap(enum script script);
/* NULL: not one of those. */
const char *mailbox_receipt_script(enum script script);
void mailbox_script_sha(const char *text, char hex[SHA_HEX + 1]);
/* mailbox_script_append.c */
extern const char mailbox_append_text[], mailbox_append_many_text[];

/* ---- commands without an answer (mailbox.c) ---- */

enum op_state {
    OP_QUEUED, /* to be sent at the end of the turn, when the scripts are there */
    OP_SENT,
    OP_ANSWERED, /* an append that waits for the replicas */
};

struct op;
/* reply NULL: there will be none; the op knows whether it was ever sent. */
typedef void (*op_finish)(struct op *op, const struct redis_reply *reply);

struct op {
    TAILQ_ENTRY(op) link;
    struct mailbox *mailbox; /* NULL: it is gone, and everybody was told */
    op_finish finish;
    void (*done)(void); /* the caller's, of the type that finish knows */
    void *arg;
    enum op_state state;
    enum script script; /* SCRIPT_NONE: a plain command */
    bool is_append;     /* is sent again when its answer is lost */
    bool maybe;         /* an answer was lost: it may have been carried out */
    unsigned count;     /* entries asked for */
    uint64_t since_ms;
    size_t bytes;
    /* An append that waits for the replicas. */
    struct mailbox_appended appended;
    char *held;                       /* the places' text */
    struct msg *kept;                 /* an argument lies in it; NULL: none does */
    const struct redis_reply *places; /* said apart from the answer at hand; NULL: they are in it */
    size_t arg_count;
    struct slice args[]; /* their bytes follow */
};
TAILQ_HEAD(op_row, op);

enum mailbox_state {
    MAILBOX_DOWN,  /* Redis is away */
    MAILBOX_STALE, /* the scripts, the settings or the epoch must be looked at first */
    MAILBOX_UP
};

/* Kinds of trouble that are logged once a second each. */
enum { TROUBLE_KINDS = 10 };

struct mailbox {
    struct redis *redis;
    struct mailbox_events events;
    char *prefix, *place;
    char *scripts[SCRIPT_COUNT];
    char shas[SCRIPT_COUNT][SHA_HEX + 1];
    bool fsync, replica;
    int64_t replicas, replica_timeout_ms;
    struct retention retention;

    enum mailbox_state state;
    bool announced; /* events.up was the last word */
    char fault[320];

    struct op_row row;  /* in the order of the calls */
    struct op_row asks; /* our own questions: scripts, settings, epoch, replicas */
    size_t row_count, row_bytes, queued_count;
    bool put_late;    /* something was put into the row after it was flushed */
    bool unconfirmed; /* appends were sent since the last question to the replicas */

    bool preparing, ticking;
    char epoch[24]; /* "" until it is known */
    int64_t tick;
    bool lost; /* the newest append that we know of is not in Redis any more */
    char newest_key[400];
    struct seq newest; /* zero: none */

    struct buf keys;      /* of the command at hand */
    struct slice *places; /* room for the places of one answer */
    size_t places_size;
    struct at_session *at; /* the same for sessions */
    size_t at_size;
    struct mailbox_entry *entries; /* room for one page */
    size_t entries_size;
    struct mailbox_counts counts;
    uint64_t warned_ms[TROUBLE_KINDS];
};

/* What waits in the row is not put behind more than this that Redis has not read yet: neither a
 * turn of the loop nor the connection's buffer gets longer than that by it. */
enum { BACKLOG_BYTES_MAX = 4 << 20 };

enum { OP_ARGS_MAX = 40, KEYS_MAX = 4 };
/* A command as it is put together. */
struct command {
    enum script script; /* SCRIPT_NONE: a plain command */
    struct slice args[OP_ARGS_MAX];
    size_t count;
    char numbers[8][SEQ_TEXT_MAX]; /* room for arguments that are numbers */
    size_t number_count;
};
void command_script(struct command *command, struct mailbox *mailbox, enum script script,
                    unsigned key_count);
void command_plain(struct command *command, struct slice name);
void command_add(struct command *command, struct slice arg);
void command_add_int(struct command *command, int64_t value);
void command_add_seq(struct command *command, struct seq seq);
/* The keys of one address, borrowed until the next call. False: out of memory. */
bool mailbox_keys(struct mailbox *mailbox, struct slice address, struct slice *keys,
                  const char *const *suffixes, unsigned count);

/* Puts it into the row. ERR_DOWN as in mailbox.h. */
enum err mailbox_put(struct mailbox *mailbox, const struct command *command, const struct op *like);
/* One of our own questions, which is never sent again. */
enum err mailbox_ask(struct mailbox *mailbox, const struct slice *args, size_t count,
                     op_finish finish, unsigned number);
/* Sends what is queued, in order (mailbox_batch.c). */
void mailbox_send_queued(struct mailbox *mailbox);
/* It left. */
void mailbox_sent(struct op *op);
/* What came of it, REDIS_LOST included. */
void mailbox_answered(struct op *op, const struct redis_reply *reply);
/* An answer that is trouble: counted, and logged once a second. */
void mailbox_trouble(struct mailbox *mailbox, struct slice text);
/* Takes it out of the row, says so, frees it. */
void mailbox_finish(struct op *op, const struct redis_reply *reply);
bool reply_retryable(const struct redis_reply *reply);
void op_free(struct op *op);

/* ---- getting ready (mailbox_ready.c) ---- */

void mailbox_prepare(struct mailbox *mailbox);
void mailbox_ask_tick(struct mailbox *mailbox);

/* ---- answers ---- */

/* mailbox_append.c: "OUTCOME SEQ BEFORE TRIMMED"; false when it is not that. */
bool append_parse(struct slice text, struct mailbox_appended *appended, uint64_t *trimmed);
/* mailbox_read.c: "SEQ@EPOCH". */
bool mailbox_cursor_parse(const struct mailbox *mailbox, struct slice text,
                          struct mailbox_opened *opened);
/* Tells every append that waits for the replicas. */
void append_told(struct op *op);
/* mailbox_page.c: what an XRANGE said; false when it is not an array. Foreign entries are left out
 * and counted. */
bool mailbox_page_parse(struct mailbox *mailbox, const struct redis_reply *reply,
                        struct mailbox_page *page);
/* One of them: [SEQ, [name, value, …]]. */
bool mailbox_entry_parse(const struct redis_reply *reply, struct mailbox_entry *entry);
bool reply_seq(const struct redis_reply *reply, size_t i, struct seq *seq);

/* ---- who is where (mailbox_places.c) ---- */

enum { AT_FIELD_MAX = 512 };
extern const char mailbox_forget_text[], mailbox_lease_text[];
/* mailbox_append.c: room for so many in mailbox->places. */
bool places_reserve(struct mailbox *mailbox, size_t count);
/* The sessions out of the fields and values of an `:at`; borrowed until the next call. */
size_t mailbox_at(struct mailbox *mailbox, const struct redis_reply *reply,
                  const struct at_session **sessions);

#endif
