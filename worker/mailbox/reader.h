/*
 * A reader brings the entries of one log to their receiver, by carrying out what its feed decides.
 *
 * The one idea: how a log is followed is the same for every receiver; only a few acts differ. These
 * acts are a struct reader_kind, a const table. Three kinds exist: a session reads its mailbox
 * (carrier.c), a worker reads the log of a group for all members here (group_log.c), and a
 * subscription reads the log of a group at its own pace (subscription.c). The table is passed to
 * every call and not stored, because most readers belong to idle sessions and each byte counts.
 *
 * The owner embeds the reader, and finds itself from the reader's address. A reader must not know
 * sessions, groups or Redis. The callbacks of a kind must not free the reader, except `take` and
 * `replayed`.
 */
#ifndef WORKER_READER_H
#define WORKER_READER_H

#include "common/err.h"
#include "common/msg.h"
#include "worker/mailbox/feed.h"
#include "worker/mailbox/mailbox_read.h"

struct reader {
    struct feed feed;
    uint8_t stale_pages; /* asked for before the last reader_reset, and not answered yet */
};

struct reader_kind {
    /* Asks for the page after reader->feed.queued, to be given to reader_page. Not OK: no answer
     * will come; reader_fail follows. */
    enum err (*ask)(struct reader *reader);
    /* Has reader_room called when there is room. */
    void (*wait)(struct reader *reader);
    /* Is there room for another page? Asked when all entries of a page have been taken. */
    bool (*has_room)(struct reader *reader);
    /* False: the entry is skipped. */
    bool (*wants)(struct reader *reader, const struct mailbox_entry *entry);
    /* Queues the entry. msg holds the entry's body and level, and is borrowed; NULL: out of memory.
     * False: the rest of the page is dropped. Then the kind has called reader_fail, or the receiver
     * is closing, and the reader may be gone. */
    bool (*take)(struct reader *reader, const struct mailbox_entry *entry, struct msg *msg);
    /* The backlog has been queued. NULL: the receiver is not told. The reader may be gone after. */
    void (*replayed)(struct reader *reader);
    /* Messages behind reader->feed.queued are gone, and were never queued: told once, before the
     * entries of the page. lost: the newest message that retention has removed; no message up to
     * `lost` is kept. lost zero: shared bodies have vanished, while the log still names their
     * messages. False: the rest of the page is dropped, as after `take`. */
    bool (*gap)(struct reader *reader, struct seq lost);
    /* A page could not be had: reader_check is to be called in a while. */
    void (*failed)(struct reader *reader);
};

/* Starts behind `after`; newest: the end of the log when the log was asked. The reader must be new
 * or reset. The first page is asked for at once. */
void reader_start(const struct reader_kind *kind, struct reader *reader, struct seq after,
                  struct seq newest);
/* Carries a step of the feed out. The reader may be gone after. */
void reader_carry_out(const struct reader_kind *kind, struct reader *reader, enum feed_step step);
/* A live message has been stored at seq, behind `before`. Returns true when the caller is to queue
 * the message now; else the message has been queued already, or will be read from the log. Inline:
 * every delivery of a live message comes through here. */
static inline bool reader_offer(const struct reader_kind *kind, struct reader *reader,
                                struct seq seq, struct seq before, bool has_room)
{
    enum feed_step step;

    if (feed_offer(&reader->feed, seq, before, has_room, &step))
        return true;
    if (step != FEED_NOTHING)
        reader_carry_out(kind, reader, step);
    return false;
}
/* The log may hold more than was offered. has_room: for a page. */
void reader_check(const struct reader_kind *kind, struct reader *reader, bool has_room);
/* The answer to kind->ask. A stale page is dropped: answers come in the order of the questions. A
 * kind whose questions tell an old page from a new page drops stale pages itself. The reader may be
 * gone after. */
void reader_page(const struct reader_kind *kind, struct reader *reader,
                 const struct mailbox_page *page);
/* There is room for a page. */
void reader_room(const struct reader_kind *kind, struct reader *reader);
/* The page that was asked for will not come, or could not be taken whole. */
void reader_fail(const struct reader_kind *kind, struct reader *reader);
/* Back to the state of a new reader; frees the acks. Pages that are stale stay so. */
void reader_fini(struct reader *reader);
/* The same, and a page that is on its way becomes stale. Only for a kind that gives every answer to
 * reader_page: else reader_page would drop a page that is wanted. */
void reader_reset(struct reader *reader);

#endif
