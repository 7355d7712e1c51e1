/*
 * Any bytes as a stream of frames: the decoder must give the same events however the stream is cut.
 * The first eight bytes are the sizes of the pieces (0 stands for 256), used in turn; the rest is
 * the stream. An odd last size: compression is agreed on.
 */
#include "worker/wire/ws.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZES = 8, MESSAGE_MAX = 1000 };

/* The events of the decoder, in a form that does not show where the pieces were cut. */
struct tale {
    uint8_t *text;
    size_t len;
    uint16_t error; /* the code, 0 for none */
};

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void tell(struct tale *tale, const struct ws_event *event, struct utf8_state *utf8)
{
    bool data = event->type == WS_EVENT_DATA;

    if (event->type == WS_EVENT_ERROR) {
        must(event->reason && ws_close_code_valid(event->close_code));
        tale->error = event->close_code;
        return;
    }
    if (!data || event->begin) {
        tale->text[tale->len++] = (uint8_t)event->type;
        tale->text[tale->len++] = (uint8_t)(data ? event->opcode : event->close_code >> 8);
        tale->text[tale->len++] = (uint8_t)(data ? event->compressed : event->close_code);
    }
    if (data && event->opcode == WS_TEXT &&
        !event->compressed) { /* the server never relays text that is not UTF-8 */
        must(utf8_feed(utf8, (const uint8_t *)event->payload.data, event->payload.len));
        must(!event->end || utf8_done(utf8));
    }
    for (size_t i = 0; i < event->payload.len; i++)
        tale->text[tale->len++] = (uint8_t)event->payload.data[i];
    if (data && event->end)
        tale->text[tale->len++] = '|';
}

static size_t piece_size(const uint8_t *sizes, size_t i)
{
    return sizes ? (sizes[i % SIZES] ? sizes[i % SIZES] : 256) : SIZE_MAX;
}

/* sizes NULL: the stream comes in one piece. */
static struct tale decode(const uint8_t *frames, size_t len, const uint8_t *sizes, bool deflate)
{
    struct tale tale = { malloc(4 * len + 64), 0, 0 };
    uint8_t *bytes = malloc(len + 1);
    size_t used = 0, there = 0;
    struct utf8_state utf8 = { 0 };
    struct ws_decoder decoder;
    struct ws_event event;

    must(tale.text && bytes);
    memcpy(bytes, frames, len);
    ws_decoder_init(&decoder, MESSAGE_MAX);
    decoder.deflate = deflate ? WS_DEFLATE_ON : WS_DEFLATE_OFF;
    for (size_t i = 0; there < len && !tale.error; i++) {
        there += len - there < piece_size(sizes, i) ? len - there : piece_size(sizes, i);
        do {
            size_t step = ws_decode(&decoder, bytes + used, there - used, &event);
            must(step <= there - used);
            used += step;
            if (event.type != WS_EVENT_MORE)
                tell(&tale, &event, &utf8);
        } while (event.type != WS_EVENT_MORE && !tale.error);
        must(tale.error || there - used <= WS_LEFTOVER_MAX);
    }
    free(bytes);
    return tale;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tale whole, pieces;

    if (size < SIZES)
        return 0;
    whole = decode(data + SIZES, size - SIZES, NULL, data[SIZES - 1] & 1);
    pieces = decode(data + SIZES, size - SIZES, data, data[SIZES - 1] & 1);
    /* Smaller pieces may give a part of the frame before its error is seen. */
    must(whole.error == pieces.error);
    must(whole.error ? whole.len <= pieces.len : whole.len == pieces.len);
    must(memcmp(whole.text, pieces.text, whole.len) == 0);
    free(whole.text);
    free(pieces.text);
    return 0;
}
