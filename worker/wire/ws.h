/*
 * The RFC 6455 codec: bytes in, events out. Pure: no socket, no clock, no globals, no allocation.
 *
 * Decoding works in place: the decoder unmasks the caller's bytes and returns slices of them.
 * Payload of data frames streams through as it comes; frame heads and control frames are taken only
 * whole, so the caller never has to keep more than WS_LEFTOVER_MAX bytes.
 */
#ifndef WORKER_WS_H
#define WORKER_WS_H

#include "common/close_code.h"
#include "common/slice.h"
#include "common/utf8.h"

#include <stdbool.h>
#include <stdint.h>

enum ws_opcode { /* RFC 6455 5.2 */
                 WS_CONTINUATION = 0,
                 WS_TEXT = 1,
                 WS_BINARY = 2,
                 WS_CLOSE = 8,
                 WS_PING = 9,
                 WS_PONG = 10,
};

/* The bit of a frame's first byte that marks a compressed message (RFC 7692 6); stands beside the
 * opcode of such a message. */
enum { WS_COMPRESSED = 0x40 };

/* Is permessage-deflate agreed on, and is the current message compressed? */
enum ws_deflate { WS_DEFLATE_OFF, WS_DEFLATE_ON, WS_DEFLATE_MESSAGE };

enum { WS_CONTROL_MAX = 125, WS_LEFTOVER_MAX = 14 + WS_CONTROL_MAX, WS_HEAD_MAX = 10 };

struct ws_decoder {
    uint64_t frame_left;  /* payload bytes of the current data frame still to come */
    uint64_t message_len; /* payload bytes of the current message so far, this frame's whole length
                             included */
    uint64_t message_max;
    uint32_t mask;      /* the mask of the current frame, rotated to the next byte */
    uint32_t fragments; /* frames of the current message so far */
    struct utf8_state utf8;
    uint8_t opcode; /* of the current message; 0 between messages */
    bool in_frame, fin, started;
    uint8_t deflate; /* enum ws_deflate; WS_DEFLATE_ON is set by the caller */
};

enum ws_event_type {
    WS_EVENT_MORE, /* more bytes are needed */
    WS_EVENT_DATA, /* a piece of a message: opcode, payload, begin, end */
    WS_EVENT_PING,
    WS_EVENT_PONG,
    WS_EVENT_CLOSE, /* close_code (1005 when none was given) and payload = reason */
    WS_EVENT_ERROR, /* the peer broke the protocol: close with close_code; reason is a static text
                     */
};

struct ws_event {
    enum ws_event_type type;
    uint8_t opcode;      /* DATA: WS_TEXT or WS_BINARY */
    bool begin, end;     /* DATA: the first, the last piece of its message; both: a whole message */
    bool compressed;     /* DATA: of a compressed message; text is not checked */
    uint16_t close_code; /* CLOSE, ERROR */
    struct slice
        payload; /* unmasked, within the caller's bytes; text is checked UTF-8, whole at `end` */
    const char *reason; /* ERROR */
};

/* message_max: bytes of one message, all fragments together; an eighth more for a compressed
 * message, which is larger than its text when the text has no order. Past the limit an ERROR with
 * 1009 follows from the frame's head alone. */
void ws_decoder_init(struct ws_decoder *decoder, uint64_t message_max);
/* Takes the next event from data. Returns how many bytes were used; the caller passes the rest
 * again, with more bytes behind after WS_EVENT_MORE. An empty non-final piece is not reported.
 * After ERROR the decoder must not be used again. A message of more than WS_FRAGMENTS_MAX frames
 * with less than one byte a frame is an ERROR with 1008: a flood of empty fragments. */
enum { WS_FRAGMENTS_MAX = 4096 };
size_t ws_decode(struct ws_decoder *decoder, uint8_t *data, size_t len, struct ws_event *event);
/* True between two messages, when no frame has begun. */
bool ws_decoder_idle(const struct ws_decoder *decoder);

/* Writes the head of an unmasked, final server frame. opcode: enum ws_opcode, with WS_COMPRESSED
 * for a compressed message. Returns the length of the head: 2, 4 or 10. */
size_t ws_encode_head(uint8_t head[WS_HEAD_MAX], unsigned opcode, uint64_t payload_len);
/* Writes a whole close frame: head, code, and the reason, cut to 123 bytes at a character's edge.
 * Returns the length of the frame. */
size_t ws_encode_close(uint8_t frame[2 + WS_CONTROL_MAX], uint16_t code, struct slice reason);
/* May a peer send this code in a close frame (RFC 6455 7.4)? 1000-1003, 1007-1014, 3000-4999. */
bool ws_close_code_valid(uint16_t code);

#endif
