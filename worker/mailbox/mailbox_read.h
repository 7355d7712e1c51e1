/*
 * Reading a mailbox in pages, forwards or (history) backwards, and moving a device's cursor.
 *
 * A page ends by bytes, and holds one entry at least: a script counts the bytes inside Redis, so no
 * log makes an answer large. Pages are on their way to a worker within a bound too
 * (mailbox_pages.h): further pages wait for their turn.
 *
 * An error of a call is as of mailbox_append: done is not called.
 */
#ifndef WORKER_MAILBOX_READ_H
#define WORKER_MAILBOX_READ_H

#include "common/err.h"
#include "common/seq.h"
#include "worker/mailbox/mailbox.h"

enum { MAILBOX_PAGE_BYTES = 64 << 10, MAILBOX_HISTORY_BYTES = 256 << 10 };

struct mailbox_entry {
    struct seq seq;
    struct slice body, from, id, skip_device; /* skip_device data NULL: none */
    int64_t expires_at;                       /* Unix seconds; 0: never */
    uint8_t receipt;
    int8_t level;
};
/* Borrowed for the callback. */
struct mailbox_page {
    bool ok;
    const struct mailbox_entry *entries; /* in the order of reading */
    size_t count;
    size_t gone; /* messages that are left out because their shared body has vanished: a gap */
    bool end;    /* nothing lies behind this page; else entries may lie there */
    size_t vain; /* bytes that Redis has read and that had no room in the page */
    /* The next page begins here: the seq of the last entry of the answer, which is not in `entries`
     * when its shape is foreign. Zero: the answer was empty. */
    struct seq last;
    /* The newest message that retention removed, when this message lies behind `after`: then the
     * reader has a gap. All entries lie behind `lost`. Else zero. */
    struct seq lost;
};
typedef void (*mailbox_page_cb)(void *arg, const struct mailbox_page *page);
/* Entries after `after` (exclusive), oldest first: about MAILBOX_PAGE_BYTES. */
enum err mailbox_read(struct mailbox *mailbox, struct slice address, struct seq after,
                      mailbox_page_cb done, void *arg);
/* The same for an operator: at most `count`, about MAILBOX_HISTORY_BYTES. */
enum err mailbox_read_more(struct mailbox *mailbox, struct slice address, struct seq after,
                           unsigned count, mailbox_page_cb done, void *arg);
/* Entries before `before` (exclusive; zero: from the newest), newest first, at most `count` and
 * about MAILBOX_HISTORY_BYTES; thread data NULL: of all threads. */
enum err mailbox_history(struct mailbox *mailbox, struct slice address, struct slice thread,
                         struct seq before, unsigned count, mailbox_page_cb done, void *arg);
/* Moves the device's cursor to seq, never back. done may be NULL. */
enum err mailbox_ack(struct mailbox *mailbox, struct slice address, struct slice device,
                     struct seq seq, mailbox_done_cb done, void *arg);

#endif
