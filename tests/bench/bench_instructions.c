/*
 * The fixed inputs of `make bench-instructions` (tests/bench/instructions.py): one case, a number
 * of rounds, no clock and no randomness, so that callgrind counts the same each time.
 *
 * The program builds against older checkouts too (-I another tree), whose folders may differ.
 */
#include "common/base64.h"
#include "common/utf8.h"
#if __has_include("worker/wire/ws.h")
#include "worker/envelope/envelope.h"
#include "worker/wire/ws.h"
#else
#include "worker/envelope.h"
#include "worker/ws.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE = 64 * 1024 };

/* Decoding in place changes the payload; the mask bytes have no high bit, so ASCII stays ASCII. */
static void decode(size_t len, long rounds)
{
    static uint8_t frame[LARGE + 16];
    size_t head_len = ws_encode_head(frame, WS_TEXT, len);
    struct ws_decoder decoder;
    struct ws_event event;

    frame[1] |= 0x80;
    for (size_t i = 0; i < 4; i++)
        frame[head_len++] = (uint8_t)(0x11 * (i + 1));
    memset(frame + head_len, 'a', len);
    ws_decoder_init(&decoder, LARGE);
    for (long i = 0; i < rounds; i++) {
        ws_decode(&decoder, frame, head_len + len, &event);
        if (event.type != WS_EVENT_DATA || !event.end)
            abort();
    }
}

static void decode_short(long rounds)
{
    decode(16, rounds);
}

static void decode_mail(long rounds)
{
    decode(300, rounds);
}

static void decode_large(long rounds)
{
    decode(LARGE, rounds);
}

static void encode_head(long rounds)
{
    uint8_t head[16];
    size_t total = 0;

    for (long i = 0; i < rounds; i++)
        total += ws_encode_head(head, WS_TEXT, 100 + (size_t)(i & 1) * 1000);
    if (!total)
        abort();
}

static void check(struct slice text, bool (*valid)(struct slice), long rounds)
{
    for (long i = 0; i < rounds; i++)
        if (!valid(text))
            abort();
}

static void utf8_chinese(long rounds)
{
    static char text[3000];

    for (size_t i = 0; i + 3 <= sizeof text; i += 3)
        memcpy(text + i, "\xe4\xb8\xad", 3);
    check(slice_make(text, sizeof text), utf8_valid, rounds);
}

static void base64_content(long rounds)
{
    static char text[400];

    memset(text, 'a', sizeof text);
    check(slice_make(text, sizeof text), base64_valid, rounds);
}

/* An envelope such as a chat client sends, with so many bytes of base64. */
static struct slice make_text(struct buf *buf, size_t content_len)
{
    buf_init(buf, 1 << 21);
    buf_add_text(buf, "{\"id\":\"0198f3c2-7a10-7cc0-9b1e-3f2a5d6c7b80\",\"from\":\"alice\","
                      "\"to\":[\"bob\",\"carol\"],\"subject\":\"Lunch on Thursday?\","
                      "\"type\":1,\"contentType\":0,\"charset\":\"utf-8\",\"level\":0,"
                      "\"tags\":[\"team\",\"food\"],\"createTime\":1795000000,"
                      "\"subjectId\":\"0198f3c2-7a10-7cc0-9b1e-3f2a5d6c7b80\",\"content\":\"");
    for (size_t i = 0; i < content_len; i++)
        buf_add_char(buf, "SGVsbG8sIHdvcmxk"[i % 16]);
    buf_add_text(buf, "\"}");
    return buf_slice(buf);
}

/* With or without the stamp, so that the difference of both is the stamp. */
static void envelope(size_t content_len, bool stamp, long rounds)
{
    const struct envelope_stamp fields = { .now_s = 1795000001, .from_tag = SLICE("TAB") };
    struct envelope parsed;
    struct envelope_fault fault;
    struct arena arena;
    struct buf buf;
    struct slice text = make_text(&buf, content_len);

    arena_init(&arena, 64 << 10);
    for (long i = 0; i < rounds; i++) {
        arena_reset(&arena);
        if (envelope_parse(&parsed, text, true, 1000, &arena, &fault))
            abort();
        if (stamp)
            msg_unref(envelope_stamp(&parsed, &fields, MSG_MAIL));
    }
    arena_fini(&arena);
    buf_fini(&buf);
}

static void parse_chat(long rounds)
{
    envelope(64, false, rounds);
}

static void stamp_chat(long rounds)
{
    envelope(64, true, rounds);
}

static void stamp_large(long rounds)
{
    envelope(16 << 10, true, rounds);
}

static const struct {
    const char *name;
    void (*run)(long rounds);
} cases[] = {
    { "codec: decode a frame of 16 B", decode_short },
    { "codec: decode a frame of 300 B", decode_mail },
    { "codec: decode a frame of 64 KiB", decode_large },
    { "codec: encode a frame's head", encode_head },
    { "codec: check UTF-8, 3,000 B of Chinese", utf8_chinese },
    { "codec: check base64, 400 B", base64_content },
    { "envelope: parse, chat", parse_chat },
    { "envelope: parse and stamp, chat", stamp_chat },
    { "envelope: parse and stamp, 16 KiB", stamp_large },
};

/* Without arguments the program lists its cases. */
int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc == 1) {
            puts(cases[i].name);
        } else if (argc == 3 && strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run(strtol(argv[2], NULL, 10));
            return 0;
        }
    }
    return argc == 1 ? 0 : 2;
}
