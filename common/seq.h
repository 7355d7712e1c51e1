/*
 * A position in a log that Redis keeps (a mailbox, a group's log): a stream id, milliseconds and a
 * count within the millisecond (Redis documentation, "Streams", entry ids).
 */
#ifndef COMMON_SEQ_H
#define COMMON_SEQ_H

#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero is before every message. */
struct seq {
    uint64_t ms, n;
};

enum { SEQ_TEXT_MAX = 42 }; /* "18446744073709551615-18446744073709551615" and a NUL */

/* Less than, equal to, greater than 0: a is before, at, behind b. */
static inline int seq_compare(struct seq a, struct seq b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return a.n < b.n ? -1 : a.n > b.n;
}

static inline bool seq_is_zero(struct seq seq)
{
    return seq.ms == 0 && seq.n == 0;
}

static inline struct seq seq_max(struct seq a, struct seq b)
{
    return seq_compare(a, b) >= 0 ? a : b;
}

static inline struct seq seq_min(struct seq a, struct seq b)
{
    return seq_compare(a, b) < 0 ? a : b;
}

/* Reads "MS-N" or "MS" (then n is 0). Returns false, and leaves *seq alone, for any other text. */
bool seq_parse(struct slice text, struct seq *seq);
/* Writes "MS-N" and a NUL. Returns the length without the NUL. */
size_t seq_format(char out[SEQ_TEXT_MAX], struct seq seq);
/* The position right behind seq; of the last position that position itself. */
struct seq seq_next(struct seq seq);
/* The position right before seq; of zero zero. */
struct seq seq_previous(struct seq seq);

#endif
