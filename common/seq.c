#include "common/seq.h"

#include <stdio.h>
#include <string.h>

static bool parse_half(struct slice text, uint64_t *number)
{
    uint64_t value = 0;

    if (text.len == 0 || text.len > 20)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *number = value;
    return true;
}

bool seq_parse(struct slice text, struct seq *seq)
{
    const char *dash = text.len ? memchr(text.data, '-', text.len) : NULL;
    size_t ms_len = dash ? (size_t)(dash - text.data) : text.len;
    struct seq parsed = { 0, 0 };

    if (!parse_half(slice_make(text.data, ms_len), &parsed.ms))
        return false;
    if (dash && !parse_half(slice_make(dash + 1, text.len - ms_len - 1), &parsed.n))
        return false;
    *seq = parsed;
    return true;
}

size_t seq_format(char out[SEQ_TEXT_MAX], struct seq seq)
{
    return (size_t)snprintf(out, SEQ_TEXT_MAX, "%llu-%llu", (unsigned long long)seq.ms,
                            (unsigned long long)seq.n);
}

struct seq seq_next(struct seq seq)
{
    if (++seq.n == 0 && ++seq.ms == 0)
        return (struct seq){ UINT64_MAX, UINT64_MAX }; /* nothing can be behind it */
    return seq;
}

struct seq seq_previous(struct seq seq)
{
    if (seq.n > 0)
        return (struct seq){ seq.ms, seq.n - 1 };
    return seq.ms > 0 ? (struct seq){ seq.ms - 1, UINT64_MAX } : seq;
}
