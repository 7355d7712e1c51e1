/* How long the codecs take, on this machine, now: not a test, only figures to hold a change
 * against. */
#include "common/base64.h"
#include "common/utf8.h"
#include "worker/wire/ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LARGE = 64 * 1024 };

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t put_frame(uint8_t *out, size_t len)
{
    size_t head = ws_encode_head(out, WS_TEXT, len);

    out[1] |= 0x80;
    for (size_t i = 0; i < 4; i++)
        out[head + i] = (uint8_t)(0x11 * (i + 1));
    return head + 4;
}

/* Decoding in place spoils the frame; a mask over it again makes it the same payload every second
 * time, so the payload is ASCII under either: mask bytes without a high bit keep it so. */
static void measure_frames(const char *name, size_t len, long rounds)
{
    static uint8_t frame[LARGE + 16];
    size_t head_len = put_frame(frame, len), used = 0;
    struct ws_decoder decoder;
    struct ws_event event;
    double begun;

    memset(frame + head_len, 'a', len);
    ws_decoder_init(&decoder, LARGE);
    begun = now_s();
    for (long i = 0; i < rounds; i++) {
        used += ws_decode(&decoder, frame, head_len + len, &event);
        if (event.type != WS_EVENT_DATA || !event.end)
            abort();
    }
    begun = now_s() - begun;
    printf("%-28s %8.1f ns  %6.2f GB/s\n", name, begun / (double)rounds * 1e9,
           (double)used / begun / 1e9);
}

static void measure_check(const char *name, struct slice text, bool (*check)(struct slice),
                          long rounds)
{
    double begun = now_s();

    for (long i = 0; i < rounds; i++)
        if (!check(text))
            abort();
    begun = now_s() - begun;
    printf("%-28s %8.1f ns  %6.2f GB/s\n", name, begun / (double)rounds * 1e9,
           (double)text.len * (double)rounds / begun / 1e9);
}

int main(void)
{
    static char text[LARGE];

    measure_frames("decode text frame, 16 B", 16, 20000000);
    measure_frames("decode text frame, 100 B", 100, 20000000);
    measure_frames("decode text frame, 300 B", 300, 10000000);
    measure_frames("decode text frame, 64 KiB", LARGE, 50000);
    memset(text, 'a', sizeof text);
    measure_check("utf8_valid, ASCII", slice_make(text, sizeof text), utf8_valid, 50000);
    measure_check("base64_valid, 200 B", slice_make(text, 200), base64_valid, 10000000);
    measure_check("base64_valid, 64 KiB", slice_make(text, sizeof text), base64_valid, 50000);
    for (size_t i = 0; i + 3 <= sizeof text; i += 3)
        memcpy(text + i, "\xe4\xb8\xad", 3);
    measure_check("utf8_valid, Chinese", slice_make(text, sizeof text), utf8_valid, 5000);
    return 0;
}
