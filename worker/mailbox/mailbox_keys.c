/*
 * The names of keys.
 *
 * An address comes from a token, or from a sender who names a recipient: any byte may be in it. So
 * every byte with a meaning for the hash tags of Redis or for a terminal is escaped.
 */
#include "common/sha1.h"
#include "worker/mailbox/mailbox_parts.h"

#include <stdio.h>

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
