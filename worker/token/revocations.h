/*
 * Revocations that come while the server runs (docs/admin.md): a table in the worker's memory, by
 * `jti` and by address. auth.revoked, the file, is another list (config/revoked.c); both count.
 *
 * A search costs two hashes, and one load while the table is empty. An entry counts until its end,
 * by the clock of the caller; revocations_sweep gives the memory back later. A version says how new
 * an entry is in Redis; the version 0 says that Redis does not have the entry as far as is known.
 * The table knows neither Redis nor other workers.
 */
#ifndef WORKER_REVOCATIONS_H
#define WORKER_REVOCATIONS_H

#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"
#include "worker/token/token.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    REVOCATIONS_MAX = 1 << 20,
    REVOCATION_WHAT_MAX = 4 + 255, /* "sub:" and an address */
    REVOCATION_NOTE_MAX = 1024,
};
#define REVOCATION_FOR_EVER INT64_MAX

struct revocation {
    struct revocation *next; /* in the bucket */
    uint64_t version;        /* 0: not in Redis, as far as is known */
    int64_t until;           /* Unix seconds; FOR_EVER; 0: taken back, which Redis must learn yet */
    int64_t before;          /* tokens issued before, or that do not say when; INT64_MAX: all */
    uint64_t passed_over;    /* the newest news that a change of our own, under way, kept out */
    uint32_t round;          /* revocations_begin_round */
    uint16_t what_len, note_len;
    bool is_ours;    /* a clerk's change that Redis has not answered yet: kept against others */
    bool is_leaving; /* api_revocations.c: on the way to Redis */
    char text[];     /* "jti:ID" or "sub:ADDRESS", NUL, then what operators read: the note, NUL */
};

/* As another worker or Redis says it. */
struct revocation_news {
    uint64_t version;
    int64_t until, before;
    struct slice what, note;
};

struct revocations;

/* keeps_notes: for a process that shows them. Returns a table, owned by the caller; NULL: no
 * memory. */
struct revocations *revocations_new(bool keeps_notes);
void revocations_free(struct revocations *revocations); /* NULL is allowed */

/* Is this text "jti:ID" (1 to 128 bytes) or "sub:ADDRESS" (an address that may speak)? */
bool revocation_what_valid(struct slice what);

/* Enters the news, over an entry of the same name. ERR_FULL: REVOCATIONS_MAX; ERR_NOMEM; the table
 * is as before then. *entry (may be NULL): lasts until the table changes. */
enum err revocations_put(struct revocations *revocations, const struct revocation_news *news,
                         struct revocation **entry);
struct revocation *revocations_find(const struct revocations *revocations, struct slice what);
/* Frees the entry. False: there was none. */
bool revocations_remove(struct revocations *revocations, struct slice what);

/* How many buckets there are. */
size_t revocations_size(const struct revocations *revocations);
/* Entries; entries that Redis does not have. NULL: 0. */
uint32_t revocations_count(const struct revocations *revocations);
uint32_t revocations_unsaved(const struct revocations *revocations);
/* Sets the version of an entry. */
void revocations_set_version(struct revocations *revocations, struct revocation *entry,
                             uint64_t version);
/* Redis has lost data: no entry counts as saved any more. */
void revocations_forget_versions(struct revocations *revocations);

/* Is the grant's token revoked at now_s? NULL: no. */
bool revocations_hit(const struct revocations *revocations, const struct grant *grant,
                     int64_t now_s);
/* Is a token of the address revoked that was issued then (INT64_MIN: does not say)? NULL: no. */
bool revocations_hit_sub(const struct revocations *revocations, struct slice sub, int64_t issued_at,
                         int64_t now_s);

/* The whole list is read anew: entries that are not put until the end of the round, and that have a
 * version, are removed then. */
void revocations_begin_round(struct revocations *revocations);
void revocations_end_round(struct revocations *revocations);

/* Looks at up to `count` buckets from *bucket on, and calls visit (may remove the entry at hand)
 * for each entry. False: the last bucket has been looked at. */
bool revocations_walk(struct revocations *revocations, size_t *bucket, size_t count,
                      void (*visit)(void *arg, struct revocation *entry), void *arg);
/* Removes ended entries of some buckets; call once a second. */
void revocations_sweep(struct revocations *revocations, int64_t now_s);
/* The first `limit` entries by their names behind `after`, in order, into entries; returns their
 * number. Entries that have ended, or are taken back, are left out. Costs a look at all. */
size_t revocations_list(const struct revocations *revocations, struct slice after, int64_t now_s,
                        struct revocation **entries, size_t limit);

static inline struct slice revocation_what(const struct revocation *entry)
{
    return slice_make(entry->text, entry->what_len);
}

static inline struct slice revocation_note(const struct revocation *entry)
{
    return slice_make(entry->text + entry->what_len + 1, entry->note_len);
}

/* ---- as text: "VERSION UNTIL BEFORE\nWHAT\nSINCE\nBY\nREASON\n" ---- */

/* A note is "SINCE\nBY\nREASON", or empty. */
void revocation_write(struct buf *out, const struct revocation_news *news);
/* Takes one from the beginning of *text. False: the text has another form. until 0: taken back. */
bool revocation_read(struct slice *text, struct revocation_news *news);
/* Takes the line up to the next newline of *text; all of it, where there is none. */
struct slice revocation_line(struct slice *text);
/* A whole number from -1 on in decimal digits alone; -1 stands for INT64_MAX. */
bool revocation_number(struct slice text, int64_t *number);

#endif
