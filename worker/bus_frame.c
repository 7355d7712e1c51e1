/*
 * The wire between workers (little-endian), version 1:
 *
 *   deliver  0xB5 1 1  level:i8  kind:u8  count:u16  body_len:u32  count * (len:u8 address)  body
 *   stored   0xB5 1 3  as deliver, with 4 * u64 (seq, the one before) behind each address
 *   kick     0xB5 1 2  session_number:u64  close_code:u16
 *
 * Every length is told, so a frame cut anywhere is refused. The first bytes name the version:
 * during an upgrade workers of two versions share a Redis, and one that does not understand must
 * know it. Pure: no clock, no libraries, no memory of its own.
 */
#include "worker/bus.h"

#include "common/address.h"

#include <limits.h>

enum { MAGIC = 0xB5, VERSION = 1 };
enum { CLOSE_CODE_MIN = 1000, CLOSE_CODE_MAX = 4999 }; /* RFC 6455 7.4.2 */
enum { LEVEL_MIN = -9, LEVEL_MAX = 9 };

_Static_assert(BUS_RECIPIENTS_MAX <= UINT16_MAX, "their number is written in 16 bits");
_Static_assert(ADDRESS_BYTES_MAX <= UINT8_MAX, "the length of an address is written in 8 bits");

static void add_number(struct buf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        buf_add_char(out, (char)(value >> 8 * i & 0xff));
}

static bool deliver_valid(const struct bus_frame *frame)
{
    if (frame->level < LEVEL_MIN || frame->level > LEVEL_MAX ||
        (unsigned)frame->msg_kind > MSG_LAST)
        return false;
    if (frame->recipient_count == 0 || frame->recipient_count > BUS_RECIPIENTS_MAX)
        return false;
    for (size_t i = 0; i < frame->recipient_count; i++)
        if (frame->recipients[i].len == 0 || frame->recipients[i].len > ADDRESS_BYTES_MAX)
            return false;
    return frame->body.len > 0 && frame->body.len <= UINT32_MAX;
}

static bool kick_valid(const struct bus_frame *frame)
{
    return frame->close_code >= CLOSE_CODE_MIN && frame->close_code <= CLOSE_CODE_MAX;
}

static void add_position(struct buf *out, const struct bus_position *position)
{
    add_number(out, position->seq.ms, 8);
    add_number(out, position->seq.n, 8);
    add_number(out, position->before.ms, 8);
    add_number(out, position->before.n, 8);
}

static void add_deliver(struct buf *out, const struct bus_frame *frame)
{
    add_number(out, (uint8_t)frame->level, 1);
    add_number(out, frame->msg_kind, 1);
    add_number(out, frame->recipient_count, 2);
    add_number(out, frame->body.len, 4);
    for (size_t i = 0; i < frame->recipient_count; i++) {
        add_number(out, frame->recipients[i].len, 1);
        buf_add_slice(out, frame->recipients[i]);
        if (frame->kind == BUS_STORED)
            add_position(out, &frame->positions[i]);
    }
    buf_add_slice(out, frame->body);
}

static void add_kick(struct buf *out, const struct bus_frame *frame)
{
    add_number(out, frame->session_number, 8);
    add_number(out, frame->close_code, 2);
}

enum err bus_encode(struct buf *out, const struct bus_frame *frame)
{
    size_t len_before = out->len;
    bool deliver = frame->kind == BUS_DELIVER || frame->kind == BUS_STORED;

    if (!deliver && frame->kind != BUS_KICK)
        return ERR_BAD;
    if (deliver ? !deliver_valid(frame) : !kick_valid(frame))
        return ERR_BAD;
    add_number(out, MAGIC, 1);
    add_number(out, VERSION, 1);
    add_number(out, frame->kind, 1);
    if (deliver)
        add_deliver(out, frame);
    else
        add_kick(out, frame);
    if (!out->failed)
        return OK;
    out->len = len_before;
    return ERR_FULL;
}

/* --- reading --- */

/* The bytes not yet read. Reading past the end gives zeros and is remembered. */
struct reader {
    const uint8_t *at, *end;
    bool cut;
};

static bool has(struct reader *reader, size_t len)
{
    if ((size_t)(reader->end - reader->at) < len)
        reader->cut = true;
    return !reader->cut;
}

static uint64_t read_number(struct reader *reader, unsigned bytes)
{
    uint64_t value = 0;

    if (!has(reader, bytes))
        return 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)*reader->at++ << 8 * i;
    return value;
}

static struct slice read_bytes(struct reader *reader, size_t len)
{
    struct slice slice = { NULL, 0 };

    if (!has(reader, len))
        return slice;
    slice = slice_make(reader->at, len);
    reader->at += len;
    return slice;
}

static int read_level(struct reader *reader)
{
    int byte = (int)read_number(reader, 1);

    return byte > INT8_MAX ? byte - 256 : byte;
}

static struct seq read_seq(struct reader *reader)
{
    struct seq seq;

    seq.ms = read_number(reader, 8);
    seq.n = read_number(reader, 8);
    return seq;
}

static bool read_deliver(struct reader *reader, struct slice *recipients,
                         struct bus_position *positions, size_t max, struct bus_frame *frame)
{
    uint64_t body_len;

    frame->level = read_level(reader);
    frame->msg_kind = (enum msg_kind)read_number(reader, 1);
    frame->recipient_count = read_number(reader, 2);
    body_len = read_number(reader, 4);
    if (frame->recipient_count > max)
        return false;
    for (size_t i = 0; i < frame->recipient_count && !reader->cut; i++) {
        recipients[i] = read_bytes(reader, read_number(reader, 1));
        if (frame->kind == BUS_STORED) {
            positions[i].seq = read_seq(reader);
            positions[i].before = read_seq(reader);
        }
    }
    frame->recipients = recipients;
    frame->positions = positions;
    frame->body = read_bytes(reader, body_len);
    return !reader->cut && deliver_valid(frame);
}

static bool read_kick(struct reader *reader, struct bus_frame *frame)
{
    frame->session_number = read_number(reader, 8);
    frame->close_code = (uint16_t)read_number(reader, 2);
    return kick_valid(frame);
}

enum err bus_decode(struct slice bytes, struct slice *recipients, struct bus_position *positions,
                    size_t recipients_max, struct bus_frame *frame)
{
    const uint8_t *data = (const uint8_t *)bytes.data;
    struct reader reader = { data, data ? data + bytes.len : NULL, false };
    bool known = read_number(&reader, 1) == MAGIC && read_number(&reader, 1) == VERSION;
    uint64_t kind = read_number(&reader, 1);
    bool good = false;

    memset(frame, 0, sizeof *frame);
    if (known && (kind == BUS_DELIVER || kind == BUS_STORED)) {
        frame->kind = kind == BUS_STORED ? BUS_STORED : BUS_DELIVER;
        good = read_deliver(&reader, recipients, positions, recipients_max, frame);
    } else if (known && kind == BUS_KICK) {
        frame->kind = BUS_KICK;
        good = read_kick(&reader, frame);
    }
    return good && !reader.cut && reader.at == reader.end ? OK : ERR_BAD;
}
