/*
 * The wire between workers (little-endian), version 1:
 *
 *   deliver  0xB5 1 1  level:i8  kind:u8  count:u16  body_len:u32  count * (len:u8 address)  body
 *   stored   0xB5 1 3  skip:u8  device  and then as deliver, with 4 * u64 (seq, the one before)
 *                      behind each address; skip is the device's length + 1, or 0: no device
 *                      (the upper half of kind: the message's flags)
 *   kick     0xB5 1 2  session_number:u64  close_code:u16
 *   company  0xB5 1 4  session_number:u64
 *   hello    0xB5 1 5  place_len:u16  place
 *   work     0xB5 1 6  len:u8 address
 *   ask      0xB5 1 7  number:u64  place_len:u16  place  body_len:u32  body
 *   tell     0xB5 1 8  number:u64  body_len:u32  body
 *   revoked  0xB5 1 9  body_len:u32  body
 *
 * Every part has its length in front, so a frame cut anywhere is refused. The second byte names the
 * version: during an upgrade workers of two versions share a Redis, and a worker must notice a
 * frame of a version that it does not read. Pure: no clock, no libraries, no memory of its own.
 */
#include "worker/reach/bus.h"

#include "common/address.h"
#include "shm/sessions.h"

#include <limits.h>

enum { MAGIC = 0xB5, VERSION = 1 };
enum { CLOSE_CODE_MIN = 1000, CLOSE_CODE_MAX = 4999 }; /* RFC 6455 7.4.2 */
enum { FLAGS_SHIFT = 4 }; /* the flags of the message stand above its kind */
enum { LEVEL_MIN = -9, LEVEL_MAX = 9 };

_Static_assert(BUS_RECIPIENTS_MAX <= UINT16_MAX, "the count of recipients is written in 16 bits");
_Static_assert(ADDRESS_BYTES_MAX <= UINT8_MAX, "the length of an address is written in 8 bits");

static void put_number(struct buf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        buf_add_char(out, (char)(value >> 8 * i & 0xff));
}

static bool deliver_valid(const struct bus_frame *frame)
{
    if (frame->level < LEVEL_MIN || frame->level > LEVEL_MAX ||
        (unsigned)frame->msg_kind > MSG_LAST || frame->msg_flags > MSG_FLAGS)
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

static bool skip_valid(const struct bus_frame *frame)
{
    return frame->skip_device.len <= DEVICE_BYTES_MAX;
}

static bool hello_valid(const struct bus_frame *frame)
{
    return frame->place.len > 0 && frame->place.len < PLACE_MAX;
}

static bool work_valid(const struct bus_frame *frame)
{
    return frame->recipient_count == 1 && frame->recipients[0].len > 0 &&
           frame->recipients[0].len <= ADDRESS_BYTES_MAX;
}

static bool inquiry_valid(const struct bus_frame *frame)
{
    return frame->body.len > 0 && frame->body.len <= BUS_INQUIRY_BYTES_MAX;
}

static bool frame_valid(const struct bus_frame *frame)
{
    switch (frame->kind) {
    case BUS_DELIVER:
        return deliver_valid(frame);
    case BUS_STORED:
        return skip_valid(frame) && deliver_valid(frame);
    case BUS_KICK:
        return kick_valid(frame);
    case BUS_COMPANY:
        return true;
    case BUS_HELLO:
        return hello_valid(frame);
    case BUS_WORK:
        return work_valid(frame);
    case BUS_ASK:
        return hello_valid(frame) && inquiry_valid(frame);
    case BUS_TELL:
    case BUS_REVOKED:
        return inquiry_valid(frame);
    }
    return false;
}

static void add_position(struct buf *out, const struct bus_position *position)
{
    put_number(out, position->seq.ms, 8);
    put_number(out, position->seq.n, 8);
    put_number(out, position->before.ms, 8);
    put_number(out, position->before.n, 8);
}

static void add_deliver(struct buf *out, const struct bus_frame *frame)
{
    put_number(out, (uint8_t)frame->level, 1);
    put_number(out, frame->msg_kind | (unsigned)frame->msg_flags << FLAGS_SHIFT, 1);
    put_number(out, frame->recipient_count, 2);
    put_number(out, frame->body.len, 4);
    for (size_t i = 0; i < frame->recipient_count; i++) {
        put_number(out, frame->recipients[i].len, 1);
        buf_add_slice(out, frame->recipients[i]);
        if (frame->kind == BUS_STORED)
            add_position(out, &frame->positions[i]);
    }
    buf_add_slice(out, frame->body);
}

static void add_stored(struct buf *out, const struct bus_frame *frame)
{
    put_number(out, frame->skip_device.data ? frame->skip_device.len + 1 : 0, 1);
    if (frame->skip_device.data)
        buf_add_slice(out, frame->skip_device);
    add_deliver(out, frame);
}

static void add_kick(struct buf *out, const struct bus_frame *frame)
{
    put_number(out, frame->session_number, 8);
    put_number(out, frame->close_code, 2);
}

static void add_hello(struct buf *out, const struct bus_frame *frame)
{
    put_number(out, frame->place.len, 2);
    buf_add_slice(out, frame->place);
}

static void add_work(struct buf *out, const struct bus_frame *frame)
{
    put_number(out, frame->recipients[0].len, 1);
    buf_add_slice(out, frame->recipients[0]);
}

static void add_body(struct buf *out, struct slice body)
{
    put_number(out, body.len, 4);
    buf_add_slice(out, body);
}

static void add_kind(struct buf *out, const struct bus_frame *frame)
{
    switch (frame->kind) {
    case BUS_DELIVER:
        add_deliver(out, frame);
        break;
    case BUS_STORED:
        add_stored(out, frame);
        break;
    case BUS_KICK:
        add_kick(out, frame);
        break;
    case BUS_COMPANY:
        put_number(out, frame->session_number, 8);
        break;
    case BUS_HELLO:
        add_hello(out, frame);
        break;
    case BUS_WORK:
        add_work(out, frame);
        break;
    case BUS_ASK:
        put_number(out, frame->session_number, 8);
        add_hello(out, frame);
        add_body(out, frame->body);
        break;
    case BUS_TELL:
        put_number(out, frame->session_number, 8);
        add_body(out, frame->body);
        break;
    case BUS_REVOKED:
        add_body(out, frame->body);
        break;
    }
}

enum err bus_encode(struct buf *out, const struct bus_frame *frame)
{
    size_t len_before = out->len;

    if (!frame_valid(frame))
        return ERR_BAD;
    put_number(out, MAGIC, 1);
    put_number(out, VERSION, 1);
    put_number(out, frame->kind, 1);
    add_kind(out, frame);
    if (!out->failed)
        return OK;
    out->len = len_before;
    return ERR_FULL;
}

/* --- reading --- */

/* The bytes not yet read. Reading past the end gives zeros and sets `cut`. */
struct frame_bytes {
    const uint8_t *at, *end;
    bool cut;
};

static bool has_bytes(struct frame_bytes *reader, size_t len)
{
    if ((size_t)(reader->end - reader->at) < len)
        reader->cut = true;
    return !reader->cut;
}

static uint64_t take_number(struct frame_bytes *reader, unsigned bytes)
{
    uint64_t value = 0;

    if (!has_bytes(reader, bytes))
        return 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)*reader->at++ << 8 * i;
    return value;
}

static struct slice read_bytes(struct frame_bytes *reader, size_t len)
{
    struct slice slice = { NULL, 0 };

    if (!has_bytes(reader, len))
        return slice;
    slice = slice_make(reader->at, len);
    reader->at += len;
    return slice;
}

static int read_level(struct frame_bytes *reader)
{
    int byte = (int)take_number(reader, 1);

    return byte > INT8_MAX ? byte - 256 : byte;
}

static void read_msg_kind(struct frame_bytes *reader, struct bus_frame *frame)
{
    unsigned byte = (unsigned)take_number(reader, 1);

    frame->msg_kind = (enum msg_kind)(byte & ((1U << FLAGS_SHIFT) - 1));
    frame->msg_flags = (uint8_t)(byte >> FLAGS_SHIFT);
}

static struct seq read_seq(struct frame_bytes *reader)
{
    struct seq seq;

    seq.ms = take_number(reader, 8);
    seq.n = take_number(reader, 8);
    return seq;
}

/* The caller's room for the recipients and their positions. */
struct room {
    struct slice *recipients;
    struct bus_position *positions;
    size_t max;
};

static void read_deliver(struct frame_bytes *reader, const struct room *room,
                         struct bus_frame *frame)
{
    uint64_t body_len;

    frame->level = read_level(reader);
    read_msg_kind(reader, frame);
    frame->recipient_count = take_number(reader, 2);
    body_len = take_number(reader, 4);
    if (frame->recipient_count > room->max) {
        reader->cut = true;
        return;
    }
    for (size_t i = 0; i < frame->recipient_count && !reader->cut; i++) {
        room->recipients[i] = read_bytes(reader, take_number(reader, 1));
        if (frame->kind == BUS_STORED) {
            room->positions[i].seq = read_seq(reader);
            room->positions[i].before = read_seq(reader);
        }
    }
    frame->recipients = room->recipients;
    frame->positions = room->positions;
    frame->body = read_bytes(reader, body_len);
}

static struct slice read_skip(struct frame_bytes *reader)
{
    uint64_t skip = take_number(reader, 1);

    return skip ? read_bytes(reader, skip - 1) : (struct slice){ NULL, 0 };
}

static void read_work(struct frame_bytes *reader, const struct room *room, struct bus_frame *frame)
{
    if (room->max == 0) {
        reader->cut = true;
        return;
    }
    room->recipients[0] = read_bytes(reader, take_number(reader, 1));
    frame->recipients = room->recipients;
    frame->recipient_count = 1;
}

static void read_kind_of(struct frame_bytes *reader, const struct room *room,
                         struct bus_frame *frame)
{
    switch (frame->kind) {
    case BUS_STORED:
        frame->skip_device = read_skip(reader);
        read_deliver(reader, room, frame);
        break;
    case BUS_DELIVER:
        read_deliver(reader, room, frame);
        break;
    case BUS_KICK:
        frame->session_number = take_number(reader, 8);
        frame->close_code = (uint16_t)take_number(reader, 2);
        break;
    case BUS_COMPANY:
        frame->session_number = take_number(reader, 8);
        break;
    case BUS_HELLO:
        frame->place = read_bytes(reader, take_number(reader, 2));
        break;
    case BUS_WORK:
        read_work(reader, room, frame);
        break;
    case BUS_ASK:
        frame->session_number = take_number(reader, 8);
        frame->place = read_bytes(reader, take_number(reader, 2));
        frame->body = read_bytes(reader, take_number(reader, 4));
        break;
    case BUS_TELL:
        frame->session_number = take_number(reader, 8);
        frame->body = read_bytes(reader, take_number(reader, 4));
        break;
    case BUS_REVOKED:
        frame->body = read_bytes(reader, take_number(reader, 4));
        break;
    }
}

enum err bus_decode(struct slice bytes, struct slice *recipients, struct bus_position *positions,
                    size_t recipients_max, struct bus_frame *frame)
{
    const uint8_t *data = (const uint8_t *)bytes.data;
    const struct room room = { recipients, positions, recipients_max };
    struct frame_bytes reader = { data, data ? data + bytes.len : NULL, false };
    bool known = take_number(&reader, 1) == MAGIC && take_number(&reader, 1) == VERSION;
    uint64_t kind = take_number(&reader, 1);

    memset(frame, 0, sizeof *frame);
    if (!known || kind < BUS_DELIVER || kind > BUS_REVOKED)
        return ERR_BAD;
    frame->kind = (enum bus_kind)kind;
    read_kind_of(&reader, &room, frame);
    return !reader.cut && reader.at == reader.end && frame_valid(frame) ? OK : ERR_BAD;
}
