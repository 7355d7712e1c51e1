#include "worker/wire/outbox.h"

#include "worker/wire/ws.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <setjmp.h>
#include <cmocka.h>

static int fds[2]; /* the outbox writes to 0, the test reads from 1 */
static struct outbox outbox;
static struct outbox_sent sent;

static int setup(void **state)
{
    (void)state;
    outbox = (struct outbox){ 0 };
    sent = (struct outbox_sent){ 0 };
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds);
}

static int teardown(void **state)
{
    (void)state;
    outbox_fini(&outbox);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

static void put(const char *text, enum msg_kind kind, int level)
{
    struct msg *msg = msg_new(slice_of(text), kind, level);

    assert_int_equal(outbox_put(&outbox, msg), OK);
    msg_unref(msg);
}

static void put_bytes(size_t len, char fill)
{
    struct msg *msg = msg_make(len, MSG_MAIL, 0);

    memset(msg->data, fill, len);
    assert_int_equal(outbox_put(&outbox, msg), OK);
    msg_unref(msg);
}

/* Reads what is there and returns the payloads, each ended by ';'. Frames of at most 125 bytes. */
static const char *received(void)
{
    static char text[1 << 16];
    uint8_t bytes[1 << 16];
    ssize_t n = read(fds[1], bytes, sizeof bytes);
    size_t used = 0;

    for (ssize_t at = 0; at < n; at += 2 + bytes[at + 1])
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s;", bytes[at + 1],
                                 bytes + at + 2);
    text[used] = 0;
    return text;
}

static void frames_leave_by_lane_then_level_then_order(void **state)
{
    (void)state;
    put("bye", MSG_LAST, 0);
    put("m0a", MSG_MAIL, 0);
    put("low", MSG_SIGNAL, -9);
    put("m0b", MSG_SIGNAL, 0);
    put("high", MSG_SIGNAL, 9);
    put("answer", MSG_ANSWER, 0);
    put("m0c", MSG_MAIL, 0);
    assert_int_equal(outbox_flush(&outbox, fds[0], NULL, &sent), OUTBOX_EMPTY);
    assert_string_equal(received(), "answer;high;m0a;m0b;m0c;low;bye;");
    assert_int_equal(outbox.bytes, 0);
    assert_int_equal(sent.messages, 5);
    assert_int_equal(sent.answers, 2);
}

static void put_mail_of(uint32_t feed, int level)
{
    struct msg *msg = msg_new(SLICE("{}"), MSG_MAIL, level);

    assert_int_equal(
        outbox_put_at(&outbox, msg, (struct outbox_position){ .ms = 7, .number = 1, .feed = feed }),
        OK);
    msg_unref(msg);
}

static void a_word_takes_its_place_behind_the_mail_of_its_feed(void **state)
{
    (void)state;
    assert_int_equal(outbox_level_behind(&outbox, 0), 9);
    put("answer", MSG_ANSWER, 0);
    put("signal", MSG_SIGNAL, -9);
    put_mail_of(5, -8);
    assert_int_equal(outbox_level_behind(&outbox, 0), 9); /* nothing of this feed */
    put_mail_of(0, 3);
    assert_int_equal(outbox_level_behind(&outbox, 0), 3);
    put("signal", MSG_SIGNAL, -2);
    put_mail_of(0, -2);
    put_mail_of(0, 0);
    assert_int_equal(outbox_level_behind(&outbox, 0), -2);
    put("an earlier word", MSG_MAIL, -4);
    assert_int_equal(outbox_level_behind(&outbox, 0), -4);
    assert_int_equal(outbox_level_behind(&outbox, 5), -8);
}

static void nothing_is_owned_when_nothing_waits(void **state)
{
    (void)state;
    put("x", MSG_MAIL, 0);
    assert_non_null(outbox.lanes);
    outbox_flush(&outbox, fds[0], NULL, &sent);
    assert_null(outbox.lanes);
    assert_null(outbox.current);
}

/* A socket that takes a little at a time: every byte arrives once, in order, small and large frames
 * mixed. */
static void a_slow_socket_gets_every_byte_in_order(void **state)
{
    enum { FRAMES = 60 };
    static uint8_t all[8 << 20];
    size_t got = 0, at = 0;
    int size = 4096;
    enum outbox_result result;

    (void)state;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    for (int i = 0; i < FRAMES; i++)
        put_bytes((size_t)(i % 3 == 0   ? 70000
                           : i % 3 == 1 ? 3000
                                        : 10) +
                      (size_t)i,
                  (char)('A' + i % 26));
    do {
        ssize_t n;
        result = outbox_flush(&outbox, fds[0], NULL, &sent);
        n = read(fds[1], all + got, 1 + (size_t)rand() % 9000);
        got += n > 0 ? (size_t)n : 0;
    } while (result != OUTBOX_EMPTY);
    for (ssize_t n; (n = read(fds[1], all + got, sizeof all - got)) > 0;)
        got += (size_t)n;
    for (int i = 0; i < FRAMES; i++) {
        size_t len = (size_t)(i % 3 == 0 ? 70000 : i % 3 == 1 ? 3000 : 10) + (size_t)i;
        uint8_t head[WS_HEAD_MAX];
        size_t head_len = ws_encode_head(head, WS_TEXT, len);
        assert_memory_equal(all + at, head, head_len);
        at += head_len;
        for (size_t j = 0; j < len; j++)
            assert_int_equal(all[at + j], 'A' + i % 26);
        at += len;
    }
    assert_int_equal(at, got);
    assert_int_equal(sent.bytes, got);
    assert_int_equal(outbox.bytes, 0);
}

static void shedding_takes_the_lowest_level_first_and_never_mail(void **state)
{
    (void)state;
    put("keep", MSG_MAIL, -9);
    put("s-9", MSG_SIGNAL, -9);
    put("s0a", MSG_SIGNAL, 0);
    put("s0b", MSG_SIGNAL, 0);
    put("s5", MSG_SIGNAL, 5);
    assert_int_equal(outbox_shed(&outbox, 6, 9),
                     2); /* 5 bytes are not enough, so the oldest of level 0 goes too */
    assert_int_equal(outbox_shed(&outbox, 1000, 4), 1); /* nothing above level 4 */
    outbox_flush(&outbox, fds[0], NULL, &sent);
    assert_string_equal(received(), "s5;keep;");
    put("mail", MSG_MAIL, 0);
    assert_int_equal(outbox_shed(&outbox, 1000, 9), 0);
    assert_int_equal(outbox.mail_count, 1);
}

static void put_pong(int number)
{
    char text[16];
    struct msg *pong;

    snprintf(text, sizeof text, "%d", number);
    pong = msg_new(slice_of(text), MSG_ANSWER, 0);
    pong->opcode = WS_PONG;
    assert_int_equal(outbox_put(&outbox, pong), OK);
    msg_unref(pong);
}

static void sixteen_pongs_wait_then_only_the_latest_takes_the_last_place(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        put_pong(i);
    assert_int_equal(outbox.bytes, 10 * 3 + 5 * 4 + 5);
    outbox_flush(&outbox, fds[0], NULL, &sent);
    assert_string_equal(received(), "0;1;2;3;4;5;6;7;8;9;10;11;12;13;14;999;");
    for (int i = 0; i < 17; i++) /* all that waited have left, and sixteen may wait again */
        put_pong(i);
    outbox_flush(&outbox, fds[0], NULL, &sent);
    assert_string_equal(received(), "0;1;2;3;4;5;6;7;8;9;10;11;12;13;14;16;");
}

/* Pongs that the socket did not take go back to their places, and are counted once. */
static void pongs_that_do_not_fit_still_count_as_waiting(void **state)
{
    static uint8_t bytes[1 << 20];
    int size = 4096;

    (void)state;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    put_bytes(300000, 'x');
    assert_int_equal(outbox_flush(&outbox, fds[0], NULL, &sent), OUTBOX_BLOCKED);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 30; i++)
            put_pong(i);
        outbox_flush(&outbox, fds[0], NULL, &sent); /* takes them out, and puts them back */
    }
    while (outbox_flush(&outbox, fds[0], NULL, &sent) != OUTBOX_EMPTY && outbox.current)
        assert_true(read(fds[1], bytes, sizeof bytes) > 0);
    while (read(fds[1], bytes, sizeof bytes) == (ssize_t)sizeof bytes)
        ;
    assert_int_equal(outbox.bytes, 0);
    for (int i = 0; i < 20; i++)
        put_pong(i);
    assert_int_equal(outbox.bytes, 10 * 3 + 6 * 4);
}

static void a_stored_message_names_its_log_behind_its_seq(void **state)
{
    struct msg *log = msg_new(SLICE("\"log\":\"#g\","), MSG_MAIL, 0);
    struct msg *msg = msg_new(SLICE("{\"id\":1}"), MSG_MAIL, 0);
    struct outbox_position position = { .ms = 12, .n = 3, .number = 1, .feed = 7, .log = log };

    (void)state;
    assert_int_equal(outbox_put_at(&outbox, msg, position), OK);
    position.log = NULL;
    assert_int_equal(outbox_put_at(&outbox, msg, position), OK);
    assert_int_equal(log->refs, 2);
    outbox_flush(&outbox, fds[0], NULL, &sent);
    assert_string_equal(received(), "{\"seq\":\"12-3\",\"log\":\"#g\",\"id\":1};"
                                    "{\"seq\":\"12-3\",\"id\":1};");
    assert_int_equal(log->refs, 1);
    msg_unref(msg);
    msg_unref(log);
}

/* The longest name, and a socket that cuts anywhere. */
static void the_longest_log_leaves_whole_however_it_is_cut(void **state)
{
    static uint8_t all[1 << 16];
    struct msg *log = msg_make(OUTBOX_LOG_MAX, MSG_MAIL, 0), *msg = msg_make(3000, MSG_MAIL, 0);
    struct outbox_position position = {
        .ms = UINT64_MAX, .n = UINT64_MAX, .number = 1, .feed = 7, .log = log
    };
    size_t got = 0;
    enum outbox_result result;
    int size = 1;

    (void)state;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    memset(log->data, 'l', log->len);
    memset(msg->data, 'm', msg->len);
    msg->data[0] = '{';
    for (int i = 0; i < 8; i++)
        assert_int_equal(outbox_put_at(&outbox, msg, position), OK);
    do {
        ssize_t n;
        result = outbox_flush(&outbox, fds[0], NULL, &sent);
        n = read(fds[1], all + got, 1 + (size_t)rand() % 700);
        got += n > 0 ? (size_t)n : 0;
    } while (result != OUTBOX_EMPTY);
    for (ssize_t n; (n = read(fds[1], all + got, sizeof all - got)) > 0;)
        got += (size_t)n;
    assert_int_equal(got, 8 * (4 + 51 + OUTBOX_LOG_MAX + 2999));
    for (size_t i = 0; i < 8; i++) {
        const uint8_t *frame = all + i * (got / 8);
        assert_memory_equal(frame + 4, "{\"seq\":\"18446744073709551615-", 29);
        assert_int_equal(frame[4 + 51], 'l');
        assert_int_equal(frame[4 + 51 + OUTBOX_LOG_MAX - 1], 'l');
        assert_int_equal(frame[4 + 51 + OUTBOX_LOG_MAX], 'm');
    }
    assert_int_equal(log->refs, 1);
    msg_unref(msg);
    msg_unref(log);
}

static void clearing_keeps_what_has_partly_left(void **state)
{
    static uint8_t all[1 << 20];
    size_t got = 0;
    int size = 4096;

    (void)state;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    put_bytes(300000, 'x');
    put("dropped", MSG_MAIL, 0);
    assert_int_equal(outbox_flush(&outbox, fds[0], NULL, &sent), OUTBOX_BLOCKED);
    outbox_clear(&outbox);
    put("after", MSG_MAIL, 0);
    for (enum outbox_result result = OUTBOX_BLOCKED; result != OUTBOX_EMPTY;) {
        ssize_t n;
        result = outbox_flush(&outbox, fds[0], NULL, &sent);
        while ((n = read(fds[1], all + got, sizeof all - got)) > 0)
            got += (size_t)n;
    }
    assert_int_equal(got, 10 + 300000 + 2 + 5);
    assert_memory_equal(all + got - 5, "after", 5);
}

static void clearing_messages_keeps_answers_and_pongs_in_their_order(void **state)
{
    uint8_t all[64];

    (void)state;
    put("mail", MSG_MAIL, 0);
    put("one", MSG_ANSWER, 0);
    put_pong(2);
    put("signal", MSG_SIGNAL, 9);
    put("three", MSG_ANSWER, 0);
    outbox_clear_messages(&outbox);
    assert_int_equal(outbox.mail_count, 0);
    assert_int_equal(outbox.signal_bytes, 0);
    assert_int_equal(outbox.bytes, outbox.answer_bytes);
    assert_int_equal(outbox_flush(&outbox, fds[0], NULL, &sent), OUTBOX_EMPTY);
    assert_int_equal(read(fds[1], all, sizeof all), 5 + 3 + 7);
    assert_memory_equal(all + 2, "one", 3);
    assert_int_equal(all[5], 0x80 | WS_PONG);
    assert_memory_equal(all + 10, "three", 5);
    put("mail", MSG_MAIL, 0);
    outbox_clear_messages(&outbox);
    assert_int_equal(outbox.bytes, 0);
    assert_null(outbox.lanes);
}

static void a_closed_socket_is_broken(void **state)
{
    (void)state;
    close(fds[1]);
    put("x", MSG_MAIL, 0);
    assert_int_equal(outbox_flush(&outbox, fds[0], NULL, &sent), OUTBOX_BROKEN);
    fds[1] = open("/dev/null", O_RDONLY);
}

static void raw_bytes_leave_without_a_head(void **state)
{
    char bytes[32] = { 0 };
    struct msg *raw = msg_new(SLICE("HTTP/1.1 101"), MSG_ANSWER, 0);

    (void)state;
    raw->opcode = OUTBOX_RAW;
    outbox_put(&outbox, raw);
    msg_unref(raw);
    outbox_flush(&outbox, fds[0], NULL, &sent);
    assert_int_equal(read(fds[1], bytes, sizeof bytes - 1), 12);
    assert_string_equal(bytes, "HTTP/1.1 101");
}

/* Flushes until nothing waits; returns how many bytes came out at the other end. */
static size_t drain(uint8_t *to, size_t size)
{
    enum outbox_result result;
    size_t len = 0;
    ssize_t n;

    do {
        result = outbox_flush(&outbox, fds[0], NULL, &sent);
        while ((n = read(fds[1], to + len, size - len)) > 0)
            len += (size_t)n;
    } while (result == OUTBOX_BLOCKED || result == OUTBOX_MORE);
    assert_int_equal(result, OUTBOX_EMPTY);
    return len;
}

/* Answers of all sizes, so that runs begin, fill up and are broken by what is too large for them,
 * through a socket that takes a little at a time. */
static void answers_leave_in_order_and_are_counted_however_the_socket_cuts_them(void **state)
{
    enum { ANSWERS = 400 };
    static uint8_t wanted[1 << 20], got[1 << 20];
    size_t wanted_len = 0, got_len = 0;
    int size = 4096;

    (void)state;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    for (size_t i = 0; i < ANSWERS; i++) {
        size_t len = i * 7 % 1300;
        char payload[1300];
        memset(payload, 'a' + (int)(i % 26), len);
        assert_int_equal(outbox_answer(&outbox, WS_TEXT, slice_make(payload, len)), OK);
        wanted_len += ws_encode_head(wanted + wanted_len, WS_TEXT, len);
        memcpy(wanted + wanted_len, payload, len);
        wanted_len += len;
        assert_int_equal(outbox.bytes, wanted_len - got_len);
        assert_int_equal(outbox.answer_bytes, outbox.bytes);
        if (i % 50 == 49)
            got_len += drain(got + got_len, sizeof got - got_len);
    }
    assert_int_equal(outbox.bytes, 0);
    assert_int_equal(got_len, wanted_len);
    assert_memory_equal(got, wanted, wanted_len);
    assert_int_equal(sent.answers, ANSWERS);
    assert_null(outbox.lanes);
}

static void a_pong_between_answers_keeps_its_place(void **state)
{
    struct msg *pong = msg_new(SLICE("pong"), MSG_ANSWER, 0);

    (void)state;
    pong->opcode = WS_PONG;
    put("first", MSG_ANSWER, 0);
    outbox_put(&outbox, pong);
    msg_unref(pong);
    put("second", MSG_ANSWER, 0);
    outbox_answer(&outbox, WS_TEXT, SLICE("third"));
    outbox_flush(&outbox, fds[0], NULL, &sent);
    assert_string_equal(received(), "first;pong;second;third;");
    assert_int_equal(sent.answers, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_leave_by_lane_then_level_then_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_word_takes_its_place_behind_the_mail_of_its_feed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_is_owned_when_nothing_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_socket_gets_every_byte_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(shedding_takes_the_lowest_level_first_and_never_mail, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            sixteen_pongs_wait_then_only_the_latest_takes_the_last_place, setup, teardown),
        cmocka_unit_test_setup_teardown(pongs_that_do_not_fit_still_count_as_waiting, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stored_message_names_its_log_behind_its_seq, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_longest_log_leaves_whole_however_it_is_cut, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(clearing_keeps_what_has_partly_left, setup, teardown),
        cmocka_unit_test_setup_teardown(clearing_messages_keeps_answers_and_pongs_in_their_order,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_closed_socket_is_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(raw_bytes_leave_without_a_head, setup, teardown),
        cmocka_unit_test_setup_teardown(
            answers_leave_in_order_and_are_counted_however_the_socket_cuts_them, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pong_between_answers_keeps_its_place, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
