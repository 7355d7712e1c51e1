/*
 * Where a reader stands in a log (docs/protocol.md, section 5.3): a device in its mailbox, or a
 * device in a group's log. Pure.
 *
 * The reader's own word (`since`) counts before the cursor that Redis keeps. A position is worth
 * something only in the data in which the position was given (the epoch), and a gap is never
 * silent: `recovered` is false when messages behind the position are gone.
 */
#ifndef WORKER_STANDING_H
#define WORKER_STANDING_H

#include "worker/mailbox/mailbox_enter.h"

enum { STANDING_EPOCH_SIZE = 40 };

/* The position that a client names (section 1.1: `since` and `epoch`). */
struct standing_since {
    bool given;
    bool now;       /* "now": whatever the newest message is; the epoch does not matter */
    struct seq seq; /* when not `now` */
    char epoch[STANDING_EPOCH_SIZE]; /* "": not given */
};

/* Reads a seq or "now"; data NULL: not given. False for any other text: *since is then as if not
 * given. */
bool standing_since_read(struct standing_since *since, struct slice text);
/* Copies the epoch as the client gave it; data NULL: not given. An epoch that is longer than any of
 * the server's is remembered as one that matches none. */
void standing_since_epoch(struct standing_since *since, struct slice epoch);

/* The answer for `welcome` and for the `result` of a subscribe. */
struct standing {
    struct seq last;   /* the newest message of the log */
    struct seq cursor; /* the replay begins behind this position, as the client is told */
    struct seq begin; /* the reader begins here: nothing is kept between `cursor` and `begin`, and a
                         reader that began at `cursor` would tell the same gap again */
    const char *epoch; /* borrowed from the caller of standing_judge */
    bool recovered;
};

/* Returns where a reader begins whose client stands at `cursor` and is told now of what retention
 * has removed behind that. A damaged `lost` is ignored: such a position would lead the reader past
 * messages that are kept. */
struct seq standing_begin(struct seq cursor, const struct mailbox_opened *opened);
/* epoch: the name of the data in Redis now. */
struct standing standing_judge(const char *epoch, const struct standing_since *since,
                               const struct mailbox_opened *opened);

#endif
