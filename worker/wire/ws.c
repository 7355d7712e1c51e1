/*
 * The RFC 6455 codec.
 *
 * A head is judged from its first byte on, as far as it has come: a fault is known before the bytes
 * behind have come, and no length is believed before a comparison with the limit. Payload is
 * unmasked in place, sixteen bytes a step; the same pass notes whether all bytes were ASCII, so
 * that most text needs no second pass.
 *
 * The codec must not read past the bytes given, keep a pointer to them, or allocate.
 */
#include "worker/wire/ws.h"

#include <assert.h>

enum { /* RFC 6455 5.2 */
       FIN = 0x80,
       RESERVED = 0x70,
       OPCODE = 0x0f,
       CONTROL = 0x08,
       MASKED = 0x80,
       LENGTH = 0x7f,
       LENGTH_16 = 126,
       LENGTH_64 = 127,
       MASK_SIZE = 4,
};
enum { WS_COMPRESSED_MORE = 64 }; /* bytes that DEFLATE adds to a short text at most */
enum {
    KNOWN_OPCODES = 1 << WS_CONTINUATION | 1 << WS_TEXT | 1 << WS_BINARY | 1 << WS_CLOSE |
                    1 << WS_PING | 1 << WS_PONG
};

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* A fault of the peer: the close code, and a reason. reason NULL: no fault. */
struct fault {
    uint16_t code;
    const char *reason;
};

static const struct fault no_fault = { 0, NULL };

static struct fault broken(const char *reason)
{
    return (struct fault){ WS_CLOSE_PROTOCOL, reason };
}

void ws_decoder_init(struct ws_decoder *decoder, uint64_t message_max)
{
    *decoder = (struct ws_decoder){ .message_max = message_max };
}

bool ws_decoder_idle(const struct ws_decoder *decoder)
{
    return !decoder->in_frame && decoder->opcode == 0;
}

/* --- unmasking (RFC 6455 5.3) --- */

/* Returns the mask as it applies `bytes` further on. A mask is kept in memory order, so the
 * direction of the rotation depends on the machine's order of bytes. */
static inline uint32_t rotate_mask(uint32_t mask, size_t bytes)
{
    unsigned bits = (unsigned)(bytes & 3) * 8;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return mask >> bits | mask << (-bits & 31);
#else
    return mask << bits | mask >> (-bits & 31);
#endif
}

typedef uint64_t words2 __attribute__((vector_size(16)));

/* len >= 16. The last sixteen bytes are taken first and written last, so that whole steps, which
 * may overlap them, need no tail: both write the same. Returns the OR of all bytes, folded. */
static inline uint64_t unmask_long(uint8_t *data, size_t len, uint32_t mask)
{
    uint64_t mask8 = (uint64_t)mask << 32 | mask;
    uint64_t last_mask8 = (uint64_t)rotate_mask(mask, len) << 32 | rotate_mask(mask, len);
    words2 key = { mask8, mask8 }, last_key = { last_mask8, last_mask8 };
    words2 last, piece, seen;

    memcpy(&last, data + len - sizeof last, sizeof last);
    last ^= last_key;
    seen = last;
    for (size_t i = 0; i + sizeof piece <= len; i += sizeof piece) {
        memcpy(&piece, data + i, sizeof piece);
        piece ^= key;
        seen |= piece;
        memcpy(data + i, &piece, sizeof piece);
    }
    memcpy(data + len - sizeof last, &last, sizeof last);
    return seen[0] | seen[1];
}

/* len < 16. */
static inline uint64_t unmask_short(uint8_t *data, size_t len, uint32_t mask)
{
    uint64_t seen = 0, word;
    uint32_t half;

    if (len & 8) {
        memcpy(&word, data, sizeof word);
        word ^= (uint64_t)mask << 32 | mask;
        memcpy(data, &word, sizeof word);
        seen = word;
        data += sizeof word;
    }
    if (len & 4) {
        memcpy(&half, data, sizeof half);
        half ^= mask;
        memcpy(data, &half, sizeof half);
        seen |= half;
        data += sizeof half;
    }
    for (size_t i = 0; i < (len & 3); i++) {
        data[i] ^= ((const uint8_t *)&mask)[i];
        seen |= data[i];
    }
    return seen;
}

/* Unmasks in place. Returns whether all bytes are ASCII. */
static inline bool unmask(uint8_t *data, size_t len, uint32_t mask)
{
    uint64_t seen = len >= 16 ? unmask_long(data, len, mask) : unmask_short(data, len, mask);

    return !(seen & HIGH_BITS);
}

/* --- frame heads (RFC 6455 5.2) --- */

struct head {
    uint64_t payload_len;
    uint32_t mask;
    uint8_t opcode;
    bool fin, compressed;
};

/* A reserved bit without an extension that gives a meaning to the bit is a fault.
 * permessage-deflate marks the first frame of a compressed message (RFC 7692 6), and no other
 * frame. */
static bool marks_compressed(const struct ws_decoder *decoder, uint8_t first)
{
    uint8_t opcode = first & OPCODE;

    return decoder->deflate && (first & RESERVED) == WS_COMPRESSED &&
           (opcode == WS_TEXT || opcode == WS_BINARY);
}

/* An unknown opcode is a fault, whatever length follows. */
static inline struct fault judge_first(const struct ws_decoder *decoder, uint8_t first)
{
    uint8_t opcode = first & OPCODE;

    if ((first & RESERVED) && !marks_compressed(decoder, first))
        return broken("reserved bit set");
    if (!(KNOWN_OPCODES >> opcode & 1))
        return broken("unknown opcode");
    if (opcode & CONTROL)
        return first & FIN ? no_fault : broken("fragmented control frame");
    if (opcode == WS_CONTINUATION)
        return decoder->opcode ? no_fault : broken("continuation of nothing");
    return decoder->opcode ? broken("new message within a message") : no_fault;
}

static inline struct fault judge_second(uint8_t first, uint8_t second)
{
    if (!(second & MASKED))
        return broken("frame not masked"); /* RFC 6455 5.1 */
    if ((first & CONTROL) && (second & LENGTH) > WS_CONTROL_MAX)
        return broken("control frame too long");
    return no_fault;
}

static uint64_t load_network_order(const uint8_t *at, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | at[i];
    return value;
}

/* Returns how many bytes of length follow the second byte. */
static inline size_t length_size(uint8_t second)
{
    unsigned field = second & LENGTH;

    return field < LENGTH_16 ? 0 : field == LENGTH_16 ? 2 : 8;
}

/* The shortest form is a must (5.2): with two forms of one frame, a filter that knows one form is
 * passed by the other. */
static inline struct fault read_length(const uint8_t *data, size_t size, uint64_t *payload_len)
{
    if (size == 0) {
        *payload_len = data[1] & LENGTH;
        return no_fault;
    }
    *payload_len = load_network_order(data + 2, size);
    if (*payload_len >> 63)
        return broken("length with its top bit set");
    if (*payload_len < (size == 2 ? LENGTH_16 : 65536))
        return broken("length not in its shortest form");
    return no_fault;
}

/* DEFLATE makes a text without any order larger, by an eighth at most. */
static inline uint64_t size_max(const struct ws_decoder *decoder, bool compressed)
{
    return compressed ? decoder->message_max + decoder->message_max / 8 + WS_COMPRESSED_MORE
                      : decoder->message_max;
}

/* Judges the length that a data frame adds to its message, before any payload has come. */
static inline struct fault judge_size(const struct ws_decoder *decoder, uint8_t first,
                                      uint64_t payload_len)
{
    bool compressed =
        first & WS_COMPRESSED || (decoder->opcode && decoder->deflate == WS_DEFLATE_MESSAGE);

    if (payload_len > size_max(decoder, compressed) - decoder->message_len)
        return (struct fault){ WS_CLOSE_TOO_BIG, "message too large" };
    if (decoder->fragments >= WS_FRAGMENTS_MAX &&
        decoder->message_len + payload_len < (uint64_t)decoder->fragments + 1)
        return (struct fault){ WS_CLOSE_POLICY, "too many empty fragments" };
    return no_fault;
}

/* Judges as much of a head as has come. *used is the length of the head, 0 while the head is not
 * whole. */
static inline struct fault read_head(const struct ws_decoder *decoder, const uint8_t *data,
                                     size_t len, struct head *head, size_t *used)
{
    struct fault fault;
    size_t size;

    *used = 0;
    if (len == 0)
        return no_fault;
    fault = judge_first(decoder, data[0]);
    if (fault.reason || len == 1)
        return fault;
    fault = judge_second(data[0], data[1]);
    if (fault.reason)
        return fault;
    size = length_size(data[1]);
    if (len < 2 + size)
        return no_fault;
    fault = read_length(data, size, &head->payload_len);
    if (!fault.reason && !(data[0] & CONTROL))
        fault = judge_size(decoder, data[0], head->payload_len);
    if (fault.reason || len < 2 + size + MASK_SIZE)
        return fault;
    memcpy(&head->mask, data + 2 + size, MASK_SIZE);
    head->opcode = data[0] & OPCODE;
    head->fin = data[0] & FIN;
    head->compressed = data[0] & WS_COMPRESSED;
    *used = 2 + size + MASK_SIZE;
    return no_fault;
}

/* --- events --- */

static void tell_error(struct ws_event *event, struct fault fault)
{
    *event = (struct ws_event){ .type = WS_EVENT_ERROR,
                                .close_code = fault.code,
                                .reason = fault.reason };
}

/* 5.5.1: a close frame holds nothing, or a code and perhaps a reason in UTF-8. */
static void tell_close(struct ws_event *event, const uint8_t *payload, size_t len)
{
    uint16_t code;

    *event = (struct ws_event){ .type = WS_EVENT_CLOSE,
                                .close_code = WS_CLOSE_NO_STATUS,
                                .payload = slice_make(payload, 0) };
    if (len == 0)
        return;
    if (len == 1) {
        tell_error(event, broken("close frame of one byte"));
        return;
    }
    code = (uint16_t)load_network_order(payload, 2);
    event->close_code = code;
    event->payload = slice_make(payload + 2, len - 2);
    if (!ws_close_code_valid(code))
        tell_error(event, broken("bad close code"));
    else if (!utf8_valid(event->payload))
        tell_error(event, (struct fault){ WS_CLOSE_BAD_DATA, "close reason not UTF-8" });
}

static void tell_control(struct ws_event *event, const struct head *head, uint8_t *payload)
{
    size_t len = (size_t)head->payload_len;

    unmask(payload, len, head->mask);
    if (head->opcode == WS_CLOSE) {
        tell_close(event, payload, len);
        return;
    }
    *event = (struct ws_event){ .type = head->opcode == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG,
                                .opcode = head->opcode,
                                .payload = slice_make(payload, len) };
}

static void begin_frame(struct ws_decoder *decoder, const struct head *head)
{
    if (head->opcode != WS_CONTINUATION) {
        decoder->opcode = head->opcode;
        decoder->message_len = 0;
        decoder->fragments = 0;
        decoder->started = false;
        if (decoder->deflate)
            decoder->deflate = head->compressed ? WS_DEFLATE_MESSAGE : WS_DEFLATE_ON;
        decoder->utf8 = (struct utf8_state){ 0 };
    }
    decoder->message_len += head->payload_len;
    decoder->fragments++;
    decoder->frame_left = head->payload_len;
    decoder->mask = head->mask;
    decoder->fin = head->fin;
    decoder->in_frame = true;
}

/* 8.1: bytes that are not UTF-8 are a fault at once; an unfinished character is a fault at the
 * message's end. */
static inline bool text_is_good(struct ws_decoder *decoder, const uint8_t *data, size_t len,
                                bool ascii, bool end)
{
    if (!(ascii && utf8_done(&decoder->utf8)) && !utf8_feed(&decoder->utf8, data, len))
        return false;
    return !end || utf8_done(&decoder->utf8);
}

/* Takes the payload of the current frame as far as it has come. Returns the number of bytes taken;
 * the event is MORE when there is no piece to report. */
static inline size_t take_payload(struct ws_decoder *decoder, uint8_t *data, size_t len,
                                  struct ws_event *event)
{
    size_t piece_len = len < decoder->frame_left ? len : (size_t)decoder->frame_left;
    bool ascii = unmask(data, piece_len, decoder->mask), end;

    decoder->frame_left -= piece_len;
    decoder->mask = rotate_mask(decoder->mask, piece_len);
    decoder->in_frame = decoder->frame_left != 0;
    end = decoder->fin && !decoder->in_frame;
    if (decoder->opcode == WS_TEXT && decoder->deflate != WS_DEFLATE_MESSAGE &&
        !text_is_good(decoder, data, piece_len, ascii, end)) {
        tell_error(event, (struct fault){ WS_CLOSE_BAD_DATA, "text not UTF-8" });
        return piece_len;
    }
    if (piece_len == 0 && !end) {
        event->type = WS_EVENT_MORE;
        return 0;
    }
    *event = (struct ws_event){ .type = WS_EVENT_DATA,
                                .opcode = decoder->opcode,
                                .begin = !decoder->started,
                                .end = end,
                                .compressed = decoder->deflate == WS_DEFLATE_MESSAGE,
                                .payload = slice_make(data, piece_len) };
    decoder->started = true;
    if (end) {
        decoder->opcode = 0;
        decoder->message_len = 0;
    }
    return piece_len;
}

/* Takes a head, and the payload of a control frame. Returns how many bytes were used; 0 with MORE
 * when more bytes are needed. */
static inline size_t take_head(struct ws_decoder *decoder, uint8_t *data, size_t len,
                               struct ws_event *event)
{
    struct head head;
    size_t used;
    struct fault fault = read_head(decoder, data, len, &head, &used);

    event->type = WS_EVENT_MORE;
    if (fault.reason) {
        tell_error(event, fault);
        return len;
    }
    if (used == 0)
        return 0;
    if (!(head.opcode & CONTROL)) {
        begin_frame(decoder, &head);
        return used;
    }
    if (len - used < head.payload_len)
        return 0;
    tell_control(event, &head, data + used);
    return used + (size_t)head.payload_len;
}

/* The fast path for nearly all frames: a whole message in one frame, whose bytes have all come,
 * without a fault. Returns the length of the frame; 0, with nothing changed, for any other frame,
 * which the long way then judges. */
static inline size_t take_whole(const struct ws_decoder *decoder, uint8_t *data, size_t len,
                                struct ws_event *event)
{
    size_t head_size = 2 + MASK_SIZE, payload_len;
    uint32_t mask;
    bool ascii;

    if (len < head_size || decoder->in_frame || decoder->opcode)
        return 0;
    if ((data[0] != (FIN | WS_TEXT) && data[0] != (FIN | WS_BINARY)) || !(data[1] & MASKED))
        return 0;
    payload_len = data[1] & LENGTH;
    if (payload_len == LENGTH_16) {
        head_size += 2;
        payload_len = (size_t)data[2] << 8 | data[3];
        if (payload_len < LENGTH_16)
            return 0;
    } else if (payload_len == LENGTH_64) {
        return 0;
    }
    if (len < head_size + payload_len || payload_len > decoder->message_max)
        return 0;
    memcpy(&mask, data + head_size - MASK_SIZE, MASK_SIZE);
    ascii = unmask(data + head_size, payload_len, mask);
    *event = (struct ws_event){ .type = WS_EVENT_DATA,
                                .opcode = data[0] & OPCODE,
                                .begin = true,
                                .end = true,
                                .payload = slice_make(data + head_size, payload_len) };
    if (!ascii && event->opcode == WS_TEXT && !utf8_valid(event->payload))
        tell_error(event, (struct fault){ WS_CLOSE_BAD_DATA, "text not UTF-8" });
    return head_size + payload_len;
}

size_t ws_decode(struct ws_decoder *decoder, uint8_t *data, size_t len, struct ws_event *event)
{
    size_t used = take_whole(decoder, data, len, event), step;

    if (used)
        return used;
    event->type = WS_EVENT_MORE;
    if (len == 0)
        return 0;
    do { /* repeats only for empty fragments, which make no event */
        if (!decoder->in_frame) {
            step = take_head(decoder, data + used, len - used, event);
            used += step;
            if (event->type != WS_EVENT_MORE || !decoder->in_frame)
                return used;
        }
        used += take_payload(decoder, data + used, len - used, event);
    } while (event->type == WS_EVENT_MORE && !decoder->in_frame);
    return used;
}

/* --- what the server writes: unmasked, never fragmented --- */

size_t ws_encode_head(uint8_t head[WS_HEAD_MAX], unsigned opcode, uint64_t payload_len)
{
    size_t size = payload_len < LENGTH_16 ? 0 : payload_len < 65536 ? 2 : 8;

    head[0] = (uint8_t)(FIN | opcode);
    head[1] = (uint8_t)(size == 0 ? payload_len : size == 2 ? LENGTH_16 : LENGTH_64);
    for (size_t i = 0; i < size; i++)
        head[2 + i] = (uint8_t)(payload_len >> 8 * (size - 1 - i));
    return 2 + size;
}

/* Returns how many bytes of text fit into max without cutting a character. */
static size_t cut_at_character(struct slice text, size_t max)
{
    size_t len = max;

    if (text.len <= max)
        return text.len;
    while (len > 0 && ((uint8_t)text.data[len] & 0xc0) == 0x80)
        len--;
    return len;
}

size_t ws_encode_close(uint8_t frame[2 + WS_CONTROL_MAX], uint16_t code, struct slice reason)
{
    size_t reason_len = cut_at_character(reason, WS_CONTROL_MAX - 2);
    size_t head_len;

    if (code == WS_CLOSE_NO_STATUS) /* 1005 stands for "no code", so no code is sent (7.4.1) */
        return ws_encode_head(frame, WS_CLOSE, 0);
    head_len = ws_encode_head(frame, WS_CLOSE, 2 + reason_len);
    assert(head_len == 2);
    frame[2] = (uint8_t)(code >> 8);
    frame[3] = (uint8_t)code;
    if (reason_len)
        memcpy(frame + 4, reason.data, reason_len);
    return 4 + reason_len;
}

bool ws_close_code_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
