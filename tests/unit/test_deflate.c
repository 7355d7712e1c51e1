/* Messages through DEFLATE and back, by our compressor and by streams that the test makes itself.
 */
#include "worker/wire/deflate.h"

#include "worker/wire/deflate_form.h"
#include "worker/wire/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

enum { MAX = 1 << 20 };

static struct deflate_host host;
static const struct deflate_settings settings = { .enabled = true,
                                                  .takeover = true,
                                                  .level = 6,
                                                  .mem_level = 8,
                                                  .window_bits = 15,
                                                  .takeover_max = 2 };
static char bytes[MAX + 100];

static int setup(void **state)
{
    (void)state;
    host = (struct deflate_host){ 0 };
    deflate_host_set(&host, &settings);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(host.takeover_count, 0);
    deflate_host_fini(&host);
    return 0;
}

static struct deflate *begin(bool takeover, uint8_t bits)
{
    struct deflate_terms terms = { .agreed = true,
                                   .server_takeover = takeover,
                                   .client_takeover = takeover,
                                   .server_bits = bits,
                                   .client_bits = bits };
    struct deflate *deflate = deflate_begin(&host, &terms);

    assert_non_null(deflate);
    return deflate;
}

static void fill_words(size_t len, unsigned seed)
{
    static const char *const words[] = { "alpha", "beta ", "gamma", "\xe4\xb8\xad\xe6\x96\x87" };

    srand(seed);
    for (size_t i = 0; i < len;) {
        const char *word = words[rand() % 4];
        for (; *word && i < len; word++)
            bytes[i++] = *word;
    }
}

static void fill_noise(size_t len, unsigned seed)
{
    srand(seed);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(rand() >> 7);
}

static void expect_text(struct deflate *deflate, struct slice packed, struct slice wanted)
{
    struct slice text = { 0 };

    assert_int_equal(deflate_unpack(deflate, packed, MAX, &text), OK);
    assert_int_equal(text.len, wanted.len);
    assert_memory_equal(text.data, wanted.data, wanted.len);
    deflate_unpacked(&host);
}

/* Returns a copy of what the compressor made; the caller frees its data. */
static struct slice packed_copy(struct deflate *deflate, struct slice text)
{
    struct slice packed = { 0 };
    char *copy;

    assert_int_equal(deflate->server_takeover
                         ? deflate_pack_in_order(deflate, SLICE(""), text, &packed)
                         : deflate_pack(deflate, text, &packed),
                     OK);
    assert_true(packed.len < text.len);
    copy = malloc(packed.len);
    memcpy(copy, packed.data, packed.len);
    return slice_make(copy, packed.len);
}

static void expect_round_trips(struct deflate *deflate)
{
    static const size_t lens[] = { 60, 100, 125, 1000, 4096, 32768, 65535, 65536, 200000, MAX };

    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct slice packed;
        fill_words(lens[i], (unsigned)i);
        packed = packed_copy(deflate, slice_make(bytes, lens[i]));
        expect_text(deflate, packed, slice_make(bytes, lens[i]));
        free((void *)(uintptr_t)packed.data);
    }
}

static void messages_come_back_with_every_window(void **state)
{
    (void)state;
    for (uint8_t bits = DEFLATE_BITS_MIN; bits <= (uint8_t)DEFLATE_BITS_MAX; bits++) {
        struct deflate *lasting = begin(true, bits);
        expect_round_trips(begin(false, bits));
        expect_round_trips(lasting);
        deflate_end(lasting);
    }
}

static void with_takeover_a_repeated_message_is_nearly_nothing(void **state)
{
    struct deflate *lasting = begin(true, 15), *alone = begin(false, 15);
    struct slice first, second, third;

    (void)state;
    fill_noise(2000, 1);
    for (size_t i = 0; i < 2000; i++)
        bytes[i] = (char)('a' + (bytes[i] & 15));
    first = packed_copy(lasting, slice_make(bytes, 2000));
    second = packed_copy(lasting, slice_make(bytes, 2000));
    third = packed_copy(alone, slice_make(bytes, 2000));
    assert_true(second.len < 60);
    assert_true(third.len > 800);
    expect_text(lasting, first, slice_make(bytes, 2000));
    expect_text(lasting, second, slice_make(bytes, 2000));
    /* Emptied, the context refers to nothing before. */
    deflate_forget(lasting);
    free((void *)(uintptr_t)first.data);
    first = packed_copy(lasting, slice_make(bytes, 2000));
    assert_true(first.len > 800);
    expect_text(alone, first, slice_make(bytes, 2000));
    free((void *)(uintptr_t)first.data);
    free((void *)(uintptr_t)second.data);
    free((void *)(uintptr_t)third.data);
    deflate_end(lasting);
}

static void what_gets_no_smaller_is_given_up(void **state)
{
    struct deflate *lasting = begin(true, 15), *alone = begin(false, 15);
    struct slice packed;

    (void)state;
    fill_noise(100000, 2);
    for (size_t len = 0; len < 100000; len = len * 3 + 1) {
        assert_int_equal(deflate_pack(alone, slice_make(bytes, len), &packed), ERR_FULL);
        assert_int_equal(deflate_pack_in_order(lasting, SLICE(""), slice_make(bytes, len), &packed),
                         ERR_FULL);
    }
    /* And does not disturb the next. */
    expect_round_trips(alone);
    expect_round_trips(lasting);
    deflate_end(lasting);
}

/* RFC 7692 7.2.3: "Hello" in one block, in two, stored, final, and as the second message. */
static void the_examples_of_the_rfc_are_read(void **state)
{
    struct deflate *alone = begin(false, 15), *lasting = begin(true, 15);
    static const uint8_t one[] = { 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00 },
                         again[] = { 0xf2, 0x00, 0x11, 0x00, 0x00 },
                         stored[] = { 0x00, 0x05, 0x00, 0xfa, 0xff, 'H', 'e', 'l', 'l', 'o', 0x00 },
                         final[] = { 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00 },
                         final_alone[] = { 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00 },
                         two[] = { 0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff,
                                   0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00 },
                         empty[] = { 0x00 };

    (void)state;
    expect_text(alone, slice_make(one, sizeof one), SLICE("Hello"));
    expect_text(alone, slice_make(stored, sizeof stored), SLICE("Hello"));
    expect_text(alone, slice_make(final, sizeof final), SLICE("Hello"));
    expect_text(alone, slice_make(final_alone, sizeof final_alone), SLICE("Hello"));
    expect_text(alone, slice_make(two, sizeof two), SLICE("Hello"));
    expect_text(alone, slice_make(empty, sizeof empty), SLICE(""));
    expect_text(lasting, slice_make(one, sizeof one), SLICE("Hello"));
    expect_text(lasting, slice_make(again, sizeof again), SLICE("Hello"));
    /* A final block ends no window. */
    expect_text(lasting, slice_make(final, sizeof final), SLICE("Hello"));
    expect_text(lasting, slice_make(again, sizeof again), SLICE("Hello"));
    expect_text(lasting, slice_make(empty, sizeof empty), SLICE(""));
    deflate_end(lasting);
}

static void what_is_not_deflate_is_refused(void **state)
{
    static const struct slice bad[] = {
        { "", 0 },                                              /* no block at all */
        { "\x07", 1 },                                          /* a block of type 3 */
        { "\xff\xff\xff\xff\xff", 5 },                          /* the same */
        { "\xf2\x48\xcd\xc9\xc9\x07", 6 },                      /* "Hello" without its last byte */
        { "\xf2\x48\xcd", 3 },                                  /* cut within a block */
        { "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", 11 }, /* with the tail that is not sent */
        { "\x00\x05\x00\xfa\xfe"
          "Hello\x00",
          11 }, /* a length without its complement */
        { "\x00\x05\x00\xfa\xff"
          "Hell",
          9 },                                     /* a stored block that was cut */
        { "\xf2\x00\x11\x00\x00", 5 },             /* refers to a message before */
        { "\xf3\x48\xcd\xc9\xc9\x07\x00\x07", 8 }, /* garbage behind a final block */
        { "{\"from\":\"alice\"}", 16 },            /* a plain message */
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slice text;
        assert_int_equal(deflate_unpack(begin(false, 15), bad[i], MAX, &text), ERR_BAD);
        deflate_unpacked(&host);
    }
}

static void a_bomb_costs_the_bound_at_most(void **state)
{
    struct deflate *deflate = begin(false, 15);
    static char zeros[10 << 20];
    struct slice packed, text;
    uint64_t before;

    (void)state;
    packed = packed_copy(deflate, slice_make(zeros, sizeof zeros));
    assert_true(packed.len < sizeof zeros / 900);
    before = host.work;
    assert_int_equal(deflate_unpack(deflate, packed, MAX, &text), ERR_FULL);
    assert_true(host.work - before <= MAX + 1 + packed.len);
    assert_true(host.text_size <= MAX + 1);
    deflate_unpacked(&host);
    assert_int_equal(host.text_size, 0);
    /* Exactly the bound passes, one byte more does not. */
    assert_int_equal(deflate_unpack(deflate, packed, sizeof zeros, &text), OK);
    deflate_unpacked(&host);
    assert_int_equal(deflate_unpack(deflate, packed, sizeof zeros - 1, &text), ERR_FULL);
    deflate_unpacked(&host);
    free((void *)(uintptr_t)packed.data);
}

static void a_flood_of_final_blocks_is_refused(void **state)
{
    struct slice text;

    (void)state;
    for (size_t i = 0; i < 4000; i += 2) /* an empty final block of type 1 */
        memcpy(bytes + i, "\x03\x00", 2);
    assert_int_equal(deflate_unpack(begin(false, 15), slice_make(bytes, 2000), MAX, &text), OK);
    assert_int_equal(text.len, 0);
    assert_int_equal(deflate_unpack(begin(false, 15), slice_make(bytes, 4000), MAX, &text),
                     ERR_BAD);
}

static void takeover_is_given_within_its_bound_and_taken_back(void **state)
{
    struct slice offers = SLICE("permessage-deflate");
    struct deflate *first, *second;

    (void)state;
    assert_true(deflate_host_choose(&host, offers).server_takeover);
    first = begin(true, 15);
    second = begin(true, 15);
    assert_true(deflate_host_choose(&host, offers).agreed);
    assert_false(deflate_host_choose(&host, offers).server_takeover);
    deflate_end(first);
    assert_true(deflate_host_choose(&host, offers).client_takeover);
    deflate_end(second);
    deflate_end(NULL);
}

static void a_reload_counts_for_the_next_message(void **state)
{
    struct deflate_settings other = settings;
    struct deflate *lasting = begin(true, 15);

    (void)state;
    expect_round_trips(begin(false, 15));
    expect_round_trips(lasting);
    other.level = 1;
    other.mem_level = 3;
    deflate_host_set(&host, &other);
    assert_null(host.compressors[15]);
    expect_round_trips(begin(false, 15));
    expect_round_trips(lasting);
    other.enabled = false;
    deflate_host_set(&host, &other);
    assert_false(deflate_host_choose(&host, SLICE("permessage-deflate")).agreed);
    expect_round_trips(lasting); /* what has been agreed on stays */
    deflate_end(lasting);
}

/* ---- forms ---- */

static struct msg *words_msg(size_t len)
{
    struct msg *msg;

    fill_words(len, 7);
    bytes[0] = '{';
    msg = msg_new(slice_make(bytes, len), MSG_MAIL, 3);
    return msg;
}

static void a_message_is_compressed_once_for_all_who_agreed_alike(void **state)
{
    struct msg *msg = words_msg(5000), *form, *stored, *small;
    enum deflate_made made;

    (void)state;
    form = deflate_form(begin(false, 15), msg, false, &made);
    assert_int_equal(made, DEFLATE_PACKED);
    assert_int_equal(form->opcode, WS_TEXT | WS_COMPRESSED);
    assert_int_equal(form->kind, MSG_MAIL);
    assert_int_equal(form->level, 3);
    assert_ptr_equal(deflate_form(begin(false, 15), msg, false, &made), form);
    assert_int_equal(made, DEFLATE_USED);
    /* Without the first byte: another form. */
    stored = deflate_form(begin(false, 15), msg, true, &made);
    assert_int_equal(made, DEFLATE_PACKED);
    assert_ptr_not_equal(stored, form);
    expect_text(begin(false, 15), msg_slice(stored), slice_make(bytes + 1, 4999));
    /* A small window suits all. */
    small = deflate_form(begin(false, 9), msg, false, &made);
    assert_int_equal(made, DEFLATE_PACKED);
    assert_ptr_equal(deflate_form(begin(false, 12), msg, false, &made), small);
    assert_ptr_equal(deflate_form(begin(false, 15), msg, true, &made), stored);
    expect_text(begin(false, 9), msg_slice(small), slice_make(bytes, 5000));
    /* A form in a queue outlives its message. */
    msg_ref(small);
    msg_unref(msg);
    expect_text(begin(false, 9), msg_slice(small), slice_make(bytes, 5000));
    msg_unref(small);
}

static void what_gains_nothing_is_tried_once(void **state)
{
    struct deflate_settings other = settings;
    struct msg *msg, *text = words_msg(1000);
    enum deflate_made made;

    (void)state;
    fill_noise(5000, 3);
    msg = msg_new(slice_make(bytes, 5000), MSG_SIGNAL, 0);
    assert_ptr_equal(deflate_form(begin(false, 15), msg, false, &made), msg);
    assert_int_equal(made, DEFLATE_NO_GAIN);
    assert_ptr_equal(deflate_form(begin(false, 15), msg, false, &made), msg);
    assert_int_equal(made, DEFLATE_NOT_TRIED);
    /* Nor what is too short, nor a control frame. */
    other.min_bytes = 1001;
    deflate_host_set(&host, &other);
    assert_ptr_equal(deflate_form(begin(false, 15), text, false, &made), text);
    assert_int_equal(made, DEFLATE_NOT_TRIED);
    deflate_host_set(&host, &settings);
    text->opcode = WS_CLOSE;
    assert_ptr_equal(deflate_form(begin(false, 15), text, false, &made), text);
    msg_unref(text);
    msg_unref(msg);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(messages_come_back_with_every_window),
        T(with_takeover_a_repeated_message_is_nearly_nothing),
        T(what_gets_no_smaller_is_given_up),
        T(the_examples_of_the_rfc_are_read),
        T(what_is_not_deflate_is_refused),
        T(a_bomb_costs_the_bound_at_most),
        T(a_flood_of_final_blocks_is_refused),
        T(takeover_is_given_within_its_bound_and_taken_back),
        T(a_reload_counts_for_the_next_message),
        T(a_message_is_compressed_once_for_all_who_agreed_alike),
        T(what_gains_nothing_is_tried_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
