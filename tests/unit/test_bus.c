/* The wire between workers: what goes in comes out, and nothing else is taken for a frame. */
#include "worker/reach/bus.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

enum { BYTES_MAX = 8 << 20, MAX = 16 };

static struct bus_position positions[BUS_RECIPIENTS_MAX];

static struct slice three[3] = { { "alice", 5 }, { "bob", 3 }, { "\xe6\x9d\x8e", 3 } };

static struct bus_frame deliver_frame(void)
{
    return (struct bus_frame){ .kind = BUS_DELIVER,
                               .level = -9,
                               .msg_kind = MSG_MAIL,
                               .recipients = three,
                               .recipient_count = 3,
                               .body = SLICE("{\"content\":\"\"}") };
}

static struct bus_frame kick_frame(void)
{
    return (struct bus_frame){ .kind = BUS_KICK,
                               .session_number = 0x0123456789abcdef,
                               .close_code = 4500 };
}

static struct bus_frame stored_frame(struct slice skip_device)
{
    struct bus_frame frame = deliver_frame();

    for (size_t i = 0; i < 3; i++)
        positions[i] = (struct bus_position){ { 5 + i, UINT64_MAX }, { 4 + i, i } };
    frame.kind = BUS_STORED;
    frame.positions = positions;
    frame.skip_device = skip_device;
    return frame;
}

static struct bus_frame company_frame(void)
{
    return (struct bus_frame){ .kind = BUS_COMPANY, .session_number = 0x0123456789abcdef };
}

static struct bus_frame hello_frame(void)
{
    return (struct bus_frame){ .kind = BUS_HELLO, .place = SLICE("node-1:3:4294967297") };
}

static struct buf encoded(struct bus_frame frame)
{
    struct buf out;

    buf_init(&out, BYTES_MAX);
    assert_int_equal(bus_encode(&out, &frame), OK);
    return out;
}

/* Decodes a copy of exactly the size, so that a sanitizer sees a read past the end. */
static enum err decode(const char *data, size_t len)
{
    struct slice recipients[MAX];
    struct bus_frame frame;
    char *copy = malloc(len ? len : 1);
    enum err err;

    assert_non_null(copy);
    memcpy(copy, data, len);
    err = bus_decode(slice_make(copy, len), recipients, positions, MAX, &frame);
    free(copy);
    return err;
}

static void a_message_comes_out_as_it_went_in(void **state)
{
    struct bus_frame frame = deliver_frame(), back;
    struct slice recipients[MAX];

    (void)state;
    for (int level = -9; level <= 9; level++) {
        frame.level = level;
        frame.msg_flags = (uint8_t)((unsigned)level & MSG_FLAGS);
        struct buf out = encoded(frame);
        assert_int_equal(bus_decode(buf_slice(&out), recipients, positions, MAX, &back), OK);
        assert_int_equal(back.kind, BUS_DELIVER);
        assert_int_equal(back.level, level);
        assert_int_equal(back.msg_flags, frame.msg_flags);
        assert_int_equal(back.msg_kind, MSG_MAIL);
        assert_int_equal(back.recipient_count, 3);
        for (size_t i = 0; i < 3; i++)
            assert_true(slice_equal(back.recipients[i], three[i]));
        assert_true(slice_equal(back.body, frame.body));
        buf_fini(&out);
    }
}

static void a_kick_comes_out_as_it_went_in(void **state)
{
    struct buf out = encoded(kick_frame());
    struct bus_frame back;

    (void)state;
    assert_int_equal(bus_decode(buf_slice(&out), NULL, NULL, 0, &back), OK);
    assert_int_equal(back.kind, BUS_KICK);
    assert_true(back.session_number == 0x0123456789abcdef);
    assert_int_equal(back.close_code, 4500);
    buf_fini(&out);
}

static void a_stored_message_names_the_device_that_is_left_out(void **state)
{
    static const struct slice skips[3] = { { NULL, 0 }, { "", 0 }, { "APP", 3 } };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct buf out = encoded(stored_frame(skips[i]));
        struct bus_position where[MAX];
        struct slice recipients[MAX];
        struct bus_frame back;
        assert_int_equal(bus_decode(buf_slice(&out), recipients, where, MAX, &back), OK);
        assert_int_equal(back.kind, BUS_STORED);
        assert_true(!back.skip_device.data == !skips[i].data); /* none is not the nameless one */
        assert_true(slice_equal(back.skip_device, skips[i]));
        assert_memory_equal(where, positions, 3 * sizeof *where);
        assert_true(slice_equal(back.recipients[2], three[2]));
        buf_fini(&out);
    }
}

static void company_and_hello_come_out_as_they_went_in(void **state)
{
    struct buf company = encoded(company_frame()), hello = encoded(hello_frame());
    struct bus_frame back;

    (void)state;
    assert_int_equal(bus_decode(buf_slice(&company), NULL, NULL, 0, &back), OK);
    assert_int_equal(back.kind, BUS_COMPANY);
    assert_true(back.session_number == 0x0123456789abcdef);
    assert_int_equal(bus_decode(buf_slice(&hello), NULL, NULL, 0, &back), OK);
    assert_int_equal(back.kind, BUS_HELLO);
    assert_true(slice_equal(back.place, hello_frame().place));
    buf_fini(&company);
    buf_fini(&hello);
}

static void a_change_of_revocations_comes_back_and_a_cut_one_is_refused(void **state)
{
    struct bus_frame frame = { .kind = BUS_REVOKED, .body = SLICE("1 -1 -1\nsub:a\n\n\n\n") }, back;
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    assert_int_equal(bus_encode(&out, &frame), OK);
    assert_int_equal(bus_decode(buf_slice(&out), NULL, NULL, 0, &back), OK);
    assert_int_equal(back.kind, BUS_REVOKED);
    assert_true(slice_equal(back.body, frame.body));
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(bus_decode(slice_make(out.data, len), NULL, NULL, 0, &back), ERR_BAD);
    buf_fini(&out);
    frame.body = SLICE("");
    assert_int_equal(bus_encode(&out, &frame), ERR_BAD);
}

static void news_of_work_comes_out_as_it_went_in(void **state)
{
    struct bus_frame frame = { .kind = BUS_WORK, .recipients = three, .recipient_count = 1 }, back;
    struct slice recipients[1];
    struct buf out = encoded(frame);

    (void)state;
    assert_int_equal(bus_decode(buf_slice(&out), recipients, NULL, 1, &back), OK);
    assert_int_equal(back.kind, BUS_WORK);
    assert_int_equal(back.recipient_count, 1);
    assert_true(slice_equal(back.recipients[0], three[0]));
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(bus_decode(slice_make(out.data, len), recipients, NULL, 1, &back),
                         ERR_BAD);
    assert_int_equal(bus_decode(buf_slice(&out), recipients, NULL, 0, &back), ERR_BAD);
    buf_fini(&out);
}

/* A worker of another build must read it: the bytes themselves are the promise. */
static void the_bytes_are_these(void **state)
{
    static const char deliver[] = "\xb5\x01\x01\xf7\x01\x01\x00\x02\x00\x00\x00\x03"
                                  "bob{}";
    static const char kick[] = "\xb5\x01\x02\xef\xcd\xab\x89\x67\x45\x23\x01\x94\x11";
    struct bus_frame frame = deliver_frame();
    struct buf out;

    (void)state;
    frame.recipients = &three[1];
    frame.recipient_count = 1;
    frame.body = SLICE("{}");
    out = encoded(frame);
    assert_int_equal(out.len, sizeof deliver - 1);
    assert_memory_equal(out.data, deliver, sizeof deliver - 1);
    buf_fini(&out);
    out = encoded(kick_frame());
    assert_int_equal(out.len, sizeof kick - 1);
    assert_memory_equal(out.data, kick, sizeof kick - 1);
    buf_fini(&out);
}

enum { FRAMES = 5 };

static void one_of_each(struct buf frames[FRAMES])
{
    frames[0] = encoded(deliver_frame());
    frames[1] = encoded(kick_frame());
    frames[2] = encoded(stored_frame(SLICE("APP")));
    frames[3] = encoded(company_frame());
    frames[4] = encoded(hello_frame());
}

static void every_prefix_is_refused(void **state)
{
    struct buf frames[FRAMES];

    (void)state;
    one_of_each(frames);
    for (size_t f = 0; f < FRAMES; f++) {
        assert_int_equal(decode(frames[f].data, frames[f].len), OK);
        for (size_t len = 0; len < frames[f].len; len++)
            assert_int_equal(decode(frames[f].data, len), ERR_BAD);
        buf_fini(&frames[f]);
    }
}

static void bytes_behind_a_frame_are_refused(void **state)
{
    struct buf frames[FRAMES];

    (void)state;
    one_of_each(frames);
    for (size_t f = 0; f < FRAMES; f++) {
        buf_add_char(&frames[f], 0);
        assert_int_equal(decode(frames[f].data, frames[f].len), ERR_BAD);
        buf_fini(&frames[f]);
    }
}

/* Whatever one changed byte makes of it, it is read within its bounds and means something valid, or
 * nothing. */
static void any_changed_byte_is_read_safely(void **state)
{
    struct buf frames[FRAMES];

    (void)state;
    one_of_each(frames);
    for (size_t f = 0; f < FRAMES; f++) {
        struct buf out = frames[f];
        for (size_t i = 0; i < out.len; i++) {
            char kept = out.data[i];
            for (int byte = 0; byte < 256; byte++) {
                out.data[i] = (char)byte;
                decode(out.data, out.len);
            }
            out.data[i] = kept;
        }
        buf_fini(&out);
    }
}

static void a_wrong_head_is_refused(void **state)
{
    /* offset, byte: magic, version (a later one), kind 0 and 6, level 10 and -10, message kind 4,
     * an unknown flag */
    static const struct {
        size_t at;
        unsigned char byte;
    } wrong[] = { { 0, 0 },  { 1, 0 },    { 1, 2 }, { 2, 0 },   { 2, 6 },
                  { 3, 10 }, { 3, 0xf6 }, { 4, 4 }, { 4, 0x41 } };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct buf out = encoded(deliver_frame());
        out.data[wrong[i].at] = (char)wrong[i].byte;
        assert_int_equal(decode(out.data, out.len), ERR_BAD);
        buf_fini(&out);
    }
}

static void more_recipients_than_there_is_room_for_are_refused(void **state)
{
    struct buf out = encoded(deliver_frame());
    struct slice recipients[MAX];
    struct bus_frame back;

    (void)state;
    assert_int_equal(bus_decode(buf_slice(&out), recipients, positions, 3, &back), OK);
    assert_int_equal(bus_decode(buf_slice(&out), recipients, positions, 2, &back), ERR_BAD);
    buf_fini(&out);
}

static enum err encode_error(struct bus_frame frame)
{
    struct buf out;
    enum err err;

    buf_init(&out, BYTES_MAX);
    err = bus_encode(&out, &frame);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
    return err;
}

static void what_may_not_be_said_is_not_encoded(void **state)
{
    static char address[256], long_place[PLACE_MAX];
    struct slice empty = { "", 0 }, too_long = { address, 256 };
    struct bus_frame frame;

    (void)state;
    frame = deliver_frame(), frame.recipient_count = 0;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = deliver_frame(), frame.recipient_count = BUS_RECIPIENTS_MAX + 1;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = deliver_frame(), frame.recipients = &empty, frame.recipient_count = 1;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = deliver_frame(), frame.recipients = &too_long, frame.recipient_count = 1;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = deliver_frame(), frame.body.len = 0;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = deliver_frame(), frame.level = 10;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = kick_frame(), frame.close_code = 999;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = kick_frame(), frame.close_code = 5000;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = stored_frame(slice_make(address, 65));
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = hello_frame(), frame.place.len = 0;
    assert_int_equal(encode_error(frame), ERR_BAD);
    frame = hello_frame(), frame.place = slice_make(long_place, PLACE_MAX);
    assert_int_equal(encode_error(frame), ERR_BAD);
}

static void the_longest_recipient_list_fits(void **state)
{
    static struct slice many[BUS_RECIPIENTS_MAX], back_to[BUS_RECIPIENTS_MAX];
    static char address[255];
    struct bus_frame frame = deliver_frame(), back;
    struct buf out;

    (void)state;
    memset(address, 'x', sizeof address);
    for (size_t i = 0; i < BUS_RECIPIENTS_MAX; i++)
        many[i] = slice_make(address, sizeof address);
    frame.recipients = many;
    frame.recipient_count = BUS_RECIPIENTS_MAX;
    out = encoded(frame);
    assert_int_equal(bus_decode(buf_slice(&out), back_to, positions, BUS_RECIPIENTS_MAX, &back),
                     OK);
    assert_int_equal(back.recipient_count, BUS_RECIPIENTS_MAX);
    assert_true(slice_equal(back.recipients[BUS_RECIPIENTS_MAX - 1], many[0]));
    assert_true(slice_equal(back.body, frame.body));
    buf_fini(&out);
}

static void a_full_buffer_is_left_as_it_was(void **state)
{
    struct bus_frame frame = deliver_frame();
    struct buf out;

    (void)state;
    buf_init(&out, 20);
    buf_add_text(&out, "abc");
    assert_int_equal(bus_encode(&out, &frame), ERR_FULL);
    assert_int_equal(out.len, 3);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_of_revocations_comes_back_and_a_cut_one_is_refused),
        cmocka_unit_test(a_message_comes_out_as_it_went_in),
        cmocka_unit_test(a_kick_comes_out_as_it_went_in),
        cmocka_unit_test(a_stored_message_names_the_device_that_is_left_out),
        cmocka_unit_test(company_and_hello_come_out_as_they_went_in),
        cmocka_unit_test(news_of_work_comes_out_as_it_went_in),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(bytes_behind_a_frame_are_refused),
        cmocka_unit_test(any_changed_byte_is_read_safely),
        cmocka_unit_test(a_wrong_head_is_refused),
        cmocka_unit_test(more_recipients_than_there_is_room_for_are_refused),
        cmocka_unit_test(what_may_not_be_said_is_not_encoded),
        cmocka_unit_test(the_longest_recipient_list_fits),
        cmocka_unit_test(a_full_buffer_is_left_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
