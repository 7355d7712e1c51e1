/*
 * Pieces of answers: numbers, positions, cursors, places, sessions. Redis is trusted, but whoever
 * can write to Redis can have put anything there, so each piece is checked.
 *
 * Lists are borrowed until the next answer is read: the mailbox has room for one of each kind.
 */
#ifndef WORKER_MAILBOX_ANSWER_H
#define WORKER_MAILBOX_ANSWER_H

#include "worker/mailbox/mailbox_append.h"
#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/mailbox_parts.h"
#include "worker/mailbox/mailbox_read.h"

/* ---- mailbox_answer.c ---- */

/* The i-th element is a position. */
bool mailbox_answer_seq(const struct redis_reply *reply, size_t i, struct seq *seq);
/* The i-th element, a number from 0 on; -1 when there is no such number. reply may be NULL. */
int64_t mailbox_answer_number(const struct redis_reply *reply, size_t i);
/* "SEQ@EPOCH": sets cursor and cursor_epoch_ok. False: no cursor; opened is left alone. */
bool mailbox_answer_cursor(const struct mailbox *mailbox, struct slice text,
                           struct mailbox_opened *opened);
/* Room for so many in mailbox->places. False: more than 4,096, or no memory; all of them are
 * counted as dropped. */
bool mailbox_answer_reserve_places(struct mailbox *mailbox, size_t count);
/* The first count elements as mailbox->places. Returns how many these are: count, or 0 when there
 * is no room (mailbox_answer_reserve_places). */
size_t mailbox_answer_places(struct mailbox *mailbox, const struct redis_reply *reply,
                             size_t count);
/* The sessions in the fields and values of an `:at`. Fields of workers are left out. */
size_t mailbox_answer_sessions(struct mailbox *mailbox, const struct redis_reply *reply,
                               const struct at_session **sessions);

/* ---- mailbox_append.c ---- */

/* "OUTCOME SEQ BEFORE TRIMMED". A BEFORE that is no position counts as SEQ. False: of another
 * shape; appended may be half written. */
bool mailbox_append_parse(struct slice text, struct mailbox_appended *appended, uint64_t *trimmed);

/* ---- mailbox_page.c ---- */

/* One entry of a stream: [SEQ, [name, value, …]]. False: of a foreign shape. */
bool mailbox_entry_parse(const struct redis_reply *reply, struct mailbox_entry *entry);
/* The answer of page.lua and thread.lua. False: of another shape, or out of memory. Foreign entries
 * are left out and counted. */
bool mailbox_page_parse(struct mailbox *mailbox, const struct redis_reply *reply,
                        struct mailbox_page *page);

#endif
