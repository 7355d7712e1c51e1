#include "worker/wire/ws.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define BYTES(text) (const uint8_t *)("" text), sizeof(text) - 1
#define MAX         100000

/* Appends a masked client frame with its length in the shortest form; returns its length. */
static size_t put_frame(uint8_t *out, uint8_t first, const void *payload, size_t len)
{
    static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    size_t head = ws_encode_head(out, (enum ws_opcode)(first & 15), len);

    out[0] = first;
    out[1] |= 0x80;
    memcpy(out + head, mask, 4);
    for (size_t i = 0; i < len; i++)
        out[head + 4 + i] = ((const uint8_t *)payload)[i] ^ mask[i & 3];
    return head + 4 + len;
}

/* What a run of the decoder came to: messages and control frames in one line of text each. */
struct run {
    char text[4096];
    size_t len;
    struct ws_event last;
    bool inside; /* a message has begun and not ended */
    struct ws_decoder decoder;
};

static void note(struct run *run, const char *text, size_t len)
{
    assert_true(run->len + len < sizeof run->text);
    memcpy(run->text + run->len, text, len);
    run->len += len;
    run->text[run->len] = 0;
}

static void note_event(struct run *run, const struct ws_event *event)
{
    char word[16] = "";

    run->last = *event;
    if (event->type == WS_EVENT_DATA) {
        assert_int_equal(event->begin, !run->inside);
        if (event->begin)
            note(run, event->opcode == WS_TEXT ? "T:" : "B:", 2);
        run->inside = !event->end;
    } else {
        static const char *const names[] = { "", "", "ping:", "pong:", "close", "error" };
        snprintf(word, sizeof word, "%s%.0u", names[event->type], event->close_code);
        note(run, word, strlen(word));
        if (event->type == WS_EVENT_CLOSE)
            note(run, ":", 1);
    }
    if (event->type != WS_EVENT_ERROR)
        note(run, event->payload.data, event->payload.len);
    if (event->type != WS_EVENT_DATA || event->end)
        note(run, "|", 1);
}

/* Gives the frames as a caller does whose reads end at `ends`: what was not used is given again. */
static void run_split(struct run *run, const uint8_t *frames, const size_t *ends, size_t count)
{
    size_t kept = 0, at = 0;
    uint8_t *buffer = NULL;

    memset(run, 0, sizeof *run);
    ws_decoder_init(&run->decoder, MAX);
    for (size_t i = 0; i < count; i++) {
        struct ws_event event;
        size_t len = kept + ends[i] - at, used = 0;
        uint8_t *grown = malloc(len ? len : 1); /* exact, for the sanitizer's sake */

        assert_non_null(grown);
        if (kept)
            memcpy(grown, buffer, kept);
        if (ends[i] > at)
            memcpy(grown + kept, frames + at, ends[i] - at);
        free(buffer);
        buffer = grown;
        at = ends[i];
        do {
            used += ws_decode(&run->decoder, buffer + used, len - used, &event);
            assert_true(used <= len);
            if (event.type != WS_EVENT_MORE)
                note_event(run, &event);
        } while (event.type != WS_EVENT_MORE && event.type != WS_EVENT_ERROR);
        if (event.type == WS_EVENT_ERROR)
            break;
        kept = len - used;
        assert_true(kept <= WS_LEFTOVER_MAX);
        memmove(buffer, buffer + used, kept);
    }
    free(buffer);
}

/* Whole, byte by byte, and in two pieces at every place; what came out must be `expected` each
 * time. */
static void expect(const uint8_t *frames, size_t len, const char *expected)
{
    struct run run;
    size_t *ends = malloc((len + 1) * sizeof *ends);

    assert_non_null(ends);
    for (size_t cut = 0; cut <= len; cut++) {
        size_t two[2] = { cut, len };
        run_split(&run, frames, two, 2);
        if (run.last.type == WS_EVENT_ERROR) /* how much came before it depends on the pieces */
            assert_string_equal(strstr(run.text, "error"), strstr(expected, "error"));
        else
            assert_string_equal(run.text, expected);
        ends[cut] = cut;
    }
    run_split(&run, frames, ends, len + 1);
    if (run.last.type == WS_EVENT_ERROR)
        assert_string_equal(strstr(run.text, "error"), strstr(expected, "error"));
    else
        assert_string_equal(run.text, expected);
    free(ends);
}

static void expect_frame(uint8_t first, const void *payload, size_t len, const char *expected)
{
    uint8_t frame[512];

    expect(frame, put_frame(frame, first, payload, len), expected);
}

static void the_examples_of_rfc_6455_5_7_are_understood(void **state)
{
    (void)state;
    expect(BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "T:Hello|");
    expect(BYTES("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "pong:Hello|");
}

static void every_length_up_to_300_comes_whole_from_every_split(void **state)
{
    uint8_t frame[400];
    char payload[300], expected[400];
    (void)state;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)('a' + i % 26);
    for (size_t len = 0; len <= sizeof payload; len += len < 140 ? 1 : 16) {
        snprintf(expected, sizeof expected, "T:%.*s|", (int)len, payload);
        expect(frame, put_frame(frame, 0x81, payload, len), expected);
    }
}

static void fragments_with_control_frames_between_make_one_message(void **state)
{
    uint8_t frames[256];
    size_t len = put_frame(frames, 0x01, "", 0);
    (void)state;
    len += put_frame(frames + len, 0x00, "caf\xc3", 4);
    len += put_frame(frames + len, 0x89, "", 0);
    len += put_frame(frames + len, 0x00, "", 0);
    len += put_frame(frames + len, 0x8a, "x", 1);
    len += put_frame(frames + len, 0x80, "\xa9!", 2);
    len += put_frame(frames + len, 0x82, "\xff", 1);
    struct run run;
    run_split(&run, frames, &len, 1);
    assert_string_equal(run.text, "T:caf\xc3ping:|pong:x|\xa9!|B:\xff|");
    assert_true(ws_decoder_idle(&run.decoder));
    expect(frames, len, "T:caf\xc3ping:|pong:x|\xa9!|B:\xff|");
}

static void an_empty_final_fragment_ends_the_message(void **state)
{
    uint8_t frames[64];
    size_t len = put_frame(frames, 0x02, "ab", 2);
    (void)state;
    len += put_frame(frames + len, 0x80, "", 0);
    expect(frames, len, "B:ab|");
    expect_frame(0x82, "", 0, "B:|");
}

/* Heads alone: not a byte of payload has come. */
static void what_breaks_the_protocol_is_refused_from_the_head(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *expected;
    } cases[] = {
        { "\xc1", 1, "error1002|" }, /* RSV1, 2, 3 */
        { "\xa1", 1, "error1002|" },
        { "\x91", 1, "error1002|" },
        { "\x83\xff\x00\x00\x01\x00\x00\x00\x00\x00", 10, "error1002|" }, /* unknown opcode, long */
        { "\x87", 1, "error1002|" },
        { "\x8b", 1, "error1002|" },
        { "\x8f", 1, "error1002|" },
        { "\x81\x05", 2, "error1002|" }, /* not masked, each opcode */
        { "\x82\x00", 2, "error1002|" },
        { "\x88\x00", 2, "error1002|" },
        { "\x89\x00", 2, "error1002|" },
        { "\x8a\x00", 2, "error1002|" },
        { "\x89\xfe", 2, "error1002|" }, /* control frames: long, fragmented */
        { "\x88\xff", 2, "error1002|" },
        { "\x09", 1, "error1002|" },
        { "\x0a", 1, "error1002|" },
        { "\x08", 1, "error1002|" },
        { "\x80", 1, "error1002|" }, /* continuation of nothing */
        { "\x00", 1, "error1002|" },
        { "\x81\xfe\x00\x7d", 4, "error1002|" }, /* length not minimal */
        { "\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff", 10, "error1002|" },
        { "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00", 10, "error1002|" }, /* top bit */
        { "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10, "error1002|" },
        { "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10, "error1009|" }, /* limit */
        { "\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00", 10, "error1009|" },
        { "\x82\xff\x00\x00\x00\x00\xff\xff\xff\xff", 10, "error1009|" },
        { "\x81\xff\x00\x00\x00\x00\x00\x01\x86\xa1", 10, "error1009|" }, /* limit + 1 */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect((const uint8_t *)cases[i].bytes, cases[i].len, cases[i].expected);
}

static void a_new_message_within_a_message_is_refused(void **state)
{
    uint8_t frames[64];
    size_t len = put_frame(frames, 0x01, "a", 1);
    (void)state;
    len += put_frame(frames + len, 0x81, "b", 1);
    expect(frames, len, "error1002|");
}

static void the_limit_counts_all_fragments_and_the_limit_itself_is_allowed(void **state)
{
    static uint8_t payload[MAX], frame[MAX + 64];
    struct ws_decoder decoder;
    struct ws_event event;
    size_t len, used;
    (void)state;
    ws_decoder_init(&decoder, MAX);
    len = put_frame(frame, 0x02, payload, MAX);
    used = ws_decode(&decoder, frame, len, &event);
    assert_int_equal(used, len);
    assert_int_equal(event.type, WS_EVENT_DATA);
    ws_decode(&decoder, frame, put_frame(frame, 0x00, "", 0), &event);
    assert_int_equal(event.type, WS_EVENT_MORE);
    ws_decode(&decoder, frame, put_frame(frame, 0x80, "x", 1) - 5, &event);
    ws_decode(&decoder, frame, put_frame(frame, 0x80, "x", 1), &event);
    assert_int_equal(event.type, WS_EVENT_ERROR);
    assert_int_equal(event.close_code, WS_CLOSE_TOO_BIG);
}

static void a_flood_of_empty_fragments_is_refused_and_slow_typing_is_not(void **state)
{
    (void)state;
    for (int bytes = 0; bytes <= 1; bytes++) {
        struct ws_decoder decoder;
        struct ws_event event = { 0 };
        uint8_t frame[16];
        int sent = 0;
        ws_decoder_init(&decoder, MAX);
        for (; sent < 2 * WS_FRAGMENTS_MAX && event.type != WS_EVENT_ERROR; sent++) {
            size_t len = put_frame(frame, sent ? 0x00 : 0x01, "a", (size_t)bytes);
            assert_int_equal(ws_decode(&decoder, frame, len, &event), len);
        }
        assert_int_equal(sent, bytes ? 2 * WS_FRAGMENTS_MAX : WS_FRAGMENTS_MAX + 1);
        if (!bytes)
            assert_int_equal(event.close_code, WS_CLOSE_POLICY);
    }
}

/* RFC 7692 6: the first frame of a message alone, and only where compression is agreed on. */
static void the_mark_of_compression_is_judged_by_the_frame(void **state)
{
    static const struct {
        bool deflate;
        uint8_t begun, first; /* begun: the first byte of a frame before; 0: none */
        bool good;
    } rows[] = {
        { true, 0, 0xc1, true },     { true, 0, 0xc2, true },     { true, 0, 0x41, true },
        { false, 0, 0xc1, false },   { false, 0, 0xc2, false },   { true, 0, 0xc9, false },
        { true, 0, 0xca, false },    { true, 0, 0xc8, false },    { true, 0, 0xe1, false },
        { true, 0, 0xd1, false },    { true, 0, 0xf2, false },    { true, 0, 0xa1, false },
        { true, 0, 0x91, false },    { true, 0x41, 0xc0, false }, { true, 0x01, 0xc0, false },
        { true, 0x41, 0x80, true },  { true, 0x41, 0x89, true },  { true, 0x41, 0xc1, false },
        { true, 0x41, 0xc9, false }, { true, 0, 0xc3, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ws_decoder decoder;
        struct ws_event event;
        uint8_t frame[32];
        ws_decoder_init(&decoder, MAX);
        decoder.deflate = rows[i].deflate ? WS_DEFLATE_ON : WS_DEFLATE_OFF;
        if (rows[i].begun)
            ws_decode(&decoder, frame, put_frame(frame, rows[i].begun, "\xff", 1), &event);
        put_frame(frame, rows[i].first, "\xff", 1);
        ws_decode(&decoder, frame, 1, &event); /* judged from the first byte */
        assert_int_equal(event.type == WS_EVENT_ERROR, !rows[i].good);
        if (!rows[i].good) {
            assert_int_equal(event.close_code, WS_CLOSE_PROTOCOL);
            continue;
        }
        ws_decode(&decoder, frame, put_frame(frame, rows[i].first, "\xff", 1), &event);
        if (rows[i].first != 0x89) { /* compressed bytes are no text */
            assert_int_equal(event.type, WS_EVENT_DATA);
            assert_true(event.compressed);
        }
    }
}

/* An eighth and 64 bytes more than a plain message. */
static void a_compressed_message_may_be_larger_than_its_text(void **state)
{
    static uint8_t payload[MAX + MAX / 8 + 65], frame[sizeof payload + 64];
    (void)state;
    for (int more = 0; more <= 1; more++) {
        struct ws_decoder decoder;
        struct ws_event event;
        size_t len = put_frame(frame, 0xc2, payload, MAX + MAX / 8 + 64 + (size_t)more);
        ws_decoder_init(&decoder, MAX);
        decoder.deflate = WS_DEFLATE_ON;
        ws_decode(&decoder, frame, len, &event);
        assert_int_equal(event.type, more ? WS_EVENT_ERROR : WS_EVENT_DATA);
        assert_true(!more || event.close_code == WS_CLOSE_TOO_BIG);
        /* A plain message that follows has its own limit again. */
        len = put_frame(frame, 0x82, payload, MAX + 1);
        if (!more)
            ws_decode(&decoder, frame, len, &event);
        assert_true(event.close_code == WS_CLOSE_TOO_BIG);
    }
}

static void close_frames_are_judged(void **state)
{
    (void)state;
    expect_frame(0x88, "", 0, "close1005:|");
    expect_frame(0x88, "\x03", 1, "error1002|");
    expect_frame(0x88, "\x03\xe8", 2, "close1000:|");
    expect_frame(0x88, "\x03\xe8 bye \xc3\xa9", 9, "close1000: bye \xc3\xa9|");
    expect_frame(0x88, "\x03\xe8\xc3", 3, "error1007|");
    expect_frame(0x88, "\x03\xed", 2, "error1002|"); /* 1005 */
    expect_frame(0x88, "\x00\x00", 2, "error1002|");
    expect_frame(0x88, "\xff\xff", 2, "error1002|");
}

static void only_codes_a_peer_may_send_are_valid(void **state)
{
    (void)state;
    for (unsigned code = 0; code <= 65535; code++) {
        bool good =
            (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
            (code >= 3000 && code < 5000);
        assert_int_equal(ws_close_code_valid((uint16_t)code), good);
    }
}

static void bad_text_is_refused_wherever_it_is_cut(void **state)
{
    static const char *const bad[] = {
        "\xc0\xaf", "\xed\xa0\x80",         "\xf4\x90\x80\x80", "\xff",        "caf\xc3",
        "\xe2\x82", "0123456789abcdef\x80", "\xf0\x9f\x98 abc", "\xe0\x9f\xbf"
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = strlen(bad[i]);
        expect_frame(0x81, bad[i], len, "error1007|");
        expect_frame(0x82, "\xff\xfe", 2, "B:\xff\xfe|");
        for (size_t cut = 0; cut <= len; cut++) {
            uint8_t frames[64];
            size_t used = put_frame(frames, 0x01, bad[i], cut);
            used += put_frame(frames + used, 0x80, bad[i] + cut, len - cut);
            expect(frames, used, "error1007|");
        }
    }
}

static void bad_text_is_refused_before_its_frame_is_whole(void **state)
{
    struct ws_decoder decoder;
    struct ws_event event;
    uint8_t frame[64];
    (void)state;
    ws_decoder_init(&decoder, MAX);
    put_frame(frame, 0x81, "ab\xc0 and more", 12);
    ws_decode(&decoder, frame, 6 + 3, &event);
    assert_int_equal(event.type, WS_EVENT_ERROR);
    assert_int_equal(event.close_code, WS_CLOSE_BAD_DATA);
}

static void heads_are_written_in_the_shortest_form(void **state)
{
    uint8_t head[WS_HEAD_MAX];
    (void)state;
    assert_int_equal(ws_encode_head(head, WS_TEXT, 5), 2);
    assert_memory_equal(head, "\x81\x05", 2);
    assert_int_equal(ws_encode_head(head, WS_BINARY, 125), 2);
    assert_int_equal(ws_encode_head(head, WS_BINARY, 126), 4);
    assert_int_equal(ws_encode_head(head, WS_BINARY, 256), 4); /* RFC 6455 5.7 */
    assert_memory_equal(head, "\x82\x7e\x01\x00", 4);
    assert_int_equal(ws_encode_head(head, WS_BINARY, 65535), 4);
    assert_int_equal(ws_encode_head(head, WS_BINARY, 65536), 10);
    assert_memory_equal(head, "\x82\x7f\0\0\0\0\0\x01\0\0", 10);
}

static void a_close_reason_is_cut_at_a_character(void **state)
{
    uint8_t frame[2 + WS_CONTROL_MAX];
    char reason[200];
    (void)state;
    for (size_t i = 0; i < sizeof reason; i += 2)
        memcpy(reason + i, "\xc3\xa9", 2);
    assert_int_equal(ws_encode_close(frame, 1000, slice_make(reason, 200)), 4 + 122);
    assert_int_equal(frame[1], 124);
    assert_true(utf8_valid(slice_make(frame + 4, 122)));
    assert_int_equal(ws_encode_close(frame, 4500, SLICE("bye")), 7);
    assert_memory_equal(frame,
                        "\x88\x05\x11\x94"
                        "bye",
                        7);
    assert_int_equal(ws_encode_close(frame, 1001, slice_make(NULL, 0)), 4);
    assert_int_equal(ws_encode_close(frame, WS_CLOSE_NO_STATUS, SLICE("x")), 2);
    assert_int_equal(frame[1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_6455_5_7_are_understood),
        cmocka_unit_test(every_length_up_to_300_comes_whole_from_every_split),
        cmocka_unit_test(fragments_with_control_frames_between_make_one_message),
        cmocka_unit_test(an_empty_final_fragment_ends_the_message),
        cmocka_unit_test(what_breaks_the_protocol_is_refused_from_the_head),
        cmocka_unit_test(a_new_message_within_a_message_is_refused),
        cmocka_unit_test(the_limit_counts_all_fragments_and_the_limit_itself_is_allowed),
        cmocka_unit_test(a_flood_of_empty_fragments_is_refused_and_slow_typing_is_not),
        cmocka_unit_test(the_mark_of_compression_is_judged_by_the_frame),
        cmocka_unit_test(a_compressed_message_may_be_larger_than_its_text),
        cmocka_unit_test(close_frames_are_judged),
        cmocka_unit_test(only_codes_a_peer_may_send_are_valid),
        cmocka_unit_test(bad_text_is_refused_wherever_it_is_cut),
        cmocka_unit_test(bad_text_is_refused_before_its_frame_is_whole),
        cmocka_unit_test(heads_are_written_in_the_shortest_form),
        cmocka_unit_test(a_close_reason_is_cut_at_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
