/*
 * The names of keys, and positions in mailboxes.
 *
 * An address comes from a token, but also from whoever writes to it: any byte may be in it, so all
 * that could mean something to Redis's hash tags or to a terminal is escaped.
 */
#include "common/sha1.h"
#include "worker/mailbox/mailbox_parts.h"

#include <stdio.h>

static bool parse_number(struct slice text, uint64_t *number)
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

    if (!parse_number(slice_make(text.data, ms_len), &parsed.ms))
        return false;
    if (dash && !parse_number(slice_make(dash + 1, text.len - ms_len - 1), &parsed.n))
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

static bool must_escape(char byte)
{
    unsigned char c = (unsigned char)byte;

    return c < 0x20 || c == 0x7f || c == '{' || c == '}' || c == '%';
}

void mailbox_key(struct buf *out, struct slice prefix, struct slice address, const char *suffix)
{
    static const char hex[] = "0123456789ABCDEF";

    buf_add_slice(out, prefix);
    buf_add_char(out, '{');
    for (size_t i = 0, plain; i < address.len; i += plain + 1) {
        for (plain = 0; i + plain < address.len && !must_escape(address.data[i + plain]);)
            plain++;
        buf_add(out, address.data + i, plain);
        if (i + plain < address.len) {
            unsigned char c = (unsigned char)address.data[i + plain];
            buf_add_char(out, '%');
            buf_add_char(out, hex[c >> 4]);
            buf_add_char(out, hex[c & 15]);
        }
    }
    buf_add_char(out, '}');
    buf_add_text(out, suffix);
}

struct slice mailbox_thread_key(struct slice thread, char room[THREAD_KEY_MAX])
{
    uint8_t digest[20];

    if (!thread.data || thread.len == 0)
        return slice_make("", 0);
    if (thread.len <= THREAD_KEY_MAX && thread.data[0] != '~' &&
        !memchr(thread.data, 0, thread.len))
        return thread;
    sha1(thread.data, thread.len, digest);
    room[0] = '~';
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(room + 1 + 2 * i, 3, "%02x", digest[i]);
    return slice_make(room, 1 + 2 * sizeof digest);
}
