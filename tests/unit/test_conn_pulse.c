/* A connection whose peer is silent, slow, or reads nothing. */
#include "conn_fixture.h"

/* ---- ping and pong ---- */

static void a_ping_is_answered_with_its_payload(void **state)
{
    (void)state;
    peer_frame(&peer, 0x80 | WS_PING, "are you there", 13);
    turns(1);
    expect_frame(&peer, WS_PONG, "are you there");
}

static void of_many_pings_fifteen_and_the_latest_are_answered(void **state)
{
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 1 << 16);
    for (int i = 0; i < 100; i++) {
        char text[4] = { (char)('0' + i / 10), (char)('0' + i % 10) };
        frame_add(&bytes, 0x80 | WS_PING, text, 2);
    }
    peer_send(&peer, bytes.data, bytes.len);
    turns(1);
    for (int i = 0; i < 15; i++) {
        char text[4] = { (char)('0' + i / 10), (char)('0' + i % 10) };
        expect_frame(&peer, WS_PONG, text);
    }
    expect_frame(&peer, WS_PONG, "99");
    expect_nothing(&peer);
    buf_fini(&bytes);
}

static void a_silent_peer_is_pinged_then_closed(void **state)
{
    (void)state;
    pass_ms(PING_MS - WHEEL_TICK_MS);
    expect_nothing(&peer);
    pass_ms(2 * WHEEL_TICK_MS);
    expect_frame(&peer, WS_PING, "");
    pass_ms(PONG_MS - 3 * WHEEL_TICK_MS);
    expect_nothing(&peer);
    pass_ms(4 * WHEEL_TICK_MS);
    expect_close(&peer, WS_CLOSE_GOING_AWAY);
    assert_int_equal(closing_count, 1);
    pass_ms(LINGER_MS + 2 * WHEEL_TICK_MS);
    assert_null(conn);
}

static void anything_at_all_keeps_a_peer_alive(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        pass_ms(PING_MS + 2 * WHEEL_TICK_MS);
        expect_frame(&peer, WS_PING, "");
        peer_frame(&peer, 0x80 | WS_PONG, "", 0);
    }
    pass_ms(PING_MS - 2 * WHEEL_TICK_MS);
    peer_text(&peer, "still here");
    pass_ms(PING_MS - 2 * WHEEL_TICK_MS);
    expect_nothing(&peer);
    assert_true(conn && conn_is_open(conn));
}

/* A worker that was stopped for a minute must not take its own silence for the peers'. */
static void after_a_stop_a_peer_has_its_whole_time_to_answer(void **state)
{
    (void)state;
    clock_ms += PING_MS + PONG_MS + 60000;
    tick();
    expect_frame(&peer, WS_PING, "");
    pass_ms(PONG_MS - 2 * WHEEL_TICK_MS);
    assert_true(conn && conn_is_open(conn));
    pass_ms(4 * WHEEL_TICK_MS);
    expect_close(&peer, WS_CLOSE_GOING_AWAY);
}

/* ---- deadlines ---- */

static void the_owners_deadline_comes_once_and_can_be_moved(void **state)
{
    (void)state;
    host.ping_ms = 3600000;
    conn_set_deadline(conn, clock_ms + 5000);
    pass_ms(4750);
    assert_int_equal(deadline_count, 0);
    pass_ms(750);
    assert_int_equal(deadline_count, 1);
    conn_set_deadline(conn, clock_ms + 5000);
    conn_set_deadline(conn, clock_ms + 20000);
    pass_ms(10000);
    assert_int_equal(deadline_count, 1);
    conn_set_deadline(conn, clock_ms + 1000);
    pass_ms(1500);
    assert_int_equal(deadline_count, 2);
    conn_set_deadline(conn, clock_ms + 1000);
    conn_set_deadline(conn, UINT64_MAX);
    pass_ms(60000);
    assert_int_equal(deadline_count, 2);
}

/* ---- back-pressure ---- */

static void echo_it(struct conn *of, struct slice payload)
{
    struct msg *msg = msg_new(payload, MSG_ANSWER, 0);

    assert_int_equal(conn_send(of, msg), OK);
    msg_unref(msg);
}

static void who_reads_no_answers_is_not_read_either(void **state)
{
    static char text[1000];
    size_t sent = 0, offered = 16 << 20, received = 0;
    struct slice got;
    struct buf frame;

    (void)state;
    on_heard = echo_it;
    memset(text, 'e', sizeof text);
    buf_init(&frame, 4096);
    frame_add(&frame, 0x80 | WS_TEXT, text, sizeof text);
    for (size_t idle = 0; sent < offered && idle < 20;) {
        size_t at = sent % frame.len, n = peer_try_send(&peer, frame.data + at, frame.len - at);
        sent += n;
        if (n)
            continue;
        idle++;
        turns(3);
    }
    assert_true(sent < offered); /* the wire is full: the server stopped */
    assert_non_null(conn);
    assert_true(conn && conn->read_paused);
    assert_in_range(conn->outbox.answer_bytes, 1, host.answer_bytes_max + 2 * 64 * 1024);
    assert_true(conn && conn_is_open(conn));
    /* The client finishes its last frame while it reads: everything it sent is answered. */
    while (sent % frame.len || received < sent / frame.len) {
        size_t at = sent % frame.len;
        if (at)
            sent += peer_try_send(&peer, frame.data + at, frame.len - at);
        turns(1);
        assert_non_null(conn);
        while (peer_next(&peer, &got) == WS_TEXT)
            received++;
        peer.in.len = peer.at == peer.in.len ? 0 : peer.in.len;
        peer.at = peer.in.len ? peer.at : 0;
    }
    assert_int_equal(message_count, received);
    assert_false(conn->read_paused);
    buf_fini(&frame);
}

static void a_reader_that_takes_nothing_is_closed_as_too_slow(void **state)
{
    struct slice got = { 0 };

    (void)state;
    while (conn && conn->outbox.bytes < 500000) {
        assert_int_equal(send_bulk(100000, MSG_MAIL, 0), OK);
        turns(1);
    }
    peer_frame(&peer, 0x80 | WS_PONG, "", 0); /* it lives, it just does not read */
    pass_ms(20000);
    peer_frame(&peer, 0x80 | WS_PONG, "", 0);
    pass_ms(SLOW_MS - 20000 - 2 * WHEEL_TICK_MS);
    assert_true(conn && conn_is_open(conn));
    pass_ms(4 * WHEEL_TICK_MS);
    assert_int_equal(closing_count, 1);
    assert_non_null(conn);
    while (peer_next(&peer, &got) == WS_TEXT || conn->outbox.bytes) {
        assert_int_equal(got.len, 100000); /* what had partly left is finished */
        turns(1);
        assert_non_null(conn);
    }
    assert_int_equal(peer.in.data[peer.at - got.len - 2] & 0x0f, WS_CLOSE);
    assert_int_equal((uint8_t)got.data[0] << 8 | (uint8_t)got.data[1], WS_CLOSE_TOO_SLOW);
}

static void a_slow_reader_that_takes_something_stays(void **state)
{
    (void)state;
    host.queue_bytes_max = 16 << 20;
    while (conn && conn->outbox.bytes < 8000000) {
        assert_int_equal(send_bulk(50000, MSG_MAIL, 0), OK);
        turns(1);
    }
    for (int i = 0; i < 8; i++) {
        peer_frame(&peer, 0x80 | WS_PONG, "", 0);
        pass_ms(20000);
        assert_true(conn && conn_is_open(conn));
        assert_true(conn && conn->outbox.bytes > 0);
        peer_read(&peer); /* what the socket holds, which is a fraction of it */
        turns(1);
    }
}

/* A large message takes minutes, and the ping waits behind the message: what the peer takes is
 * life, and the ping itself is not. */
static void a_slow_reader_that_cannot_answer_a_ping_stays_until_it_takes_nothing(void **state)
{
    (void)state;
    host.queue_bytes_max = 64 << 20;
    for (int i = 0; i < 40; i++)
        assert_int_equal(send_bulk(500000, MSG_MAIL, 0), OK);
    turns(1);
    for (int i = 0; i < 30; i++) {
        pass_ms(15000);
        assert_true(conn && conn_is_open(conn));
        peer_read(&peer);
        turns(1);
    }
    assert_non_null(conn);
    assert_int_equal(conn->silence, CONN_NOT_SILENT);
    assert_non_null(conn);
    assert_true(conn->outbox.bytes > 0);
    assert_int_equal(closing_count, 0);
    pass_ms(SLOW_MS);
    assert_int_equal(closing_count, 1);
}

static void a_peer_that_has_taken_everything_must_answer_the_ping(void **state)
{
    (void)state;
    assert_int_equal(send_bulk(100000, MSG_MAIL, 0), OK);
    pass_ms(PING_MS + PONG_MS + 4 * WHEEL_TICK_MS);
    assert_int_equal(closing_count, 1);
    assert_non_null(conn);
    assert_int_equal(conn->silence, CONN_NO_PONG);
}

/* Long idle, then a pong into a socket that happens to be full: the time runs from now. */
static void the_slow_readers_time_begins_when_something_waits(void **state)
{
    static char bytes[4096];

    (void)state;
    pass_ms(PING_MS - 1000);
    while (send(conn->fd, bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
        continue;
    peer_frame(&peer, 0x80 | WS_PING, "", 0);
    turns(1);
    assert_true(conn && conn->outbox.bytes > 0);
    pass_ms(SLOW_MS - PING_MS + 5000);
    assert_true(conn && conn_is_open(conn));
    peer_frame(&peer, 0x80 | WS_PONG, "", 0);
    pass_ms(PING_MS - 5000 + 2 * WHEEL_TICK_MS);
    assert_int_equal(closing_count, 1);
}

static void a_full_queue_sheds_signals_and_refuses_mail(void **state)
{
    (void)state;
    host.queue_bytes_max = 600000;
    while (conn && conn->outbox.bytes <
                       400000) { /* the socket is full of mail, and so is most of the queue */
        assert_int_equal(send_bulk(50000, MSG_MAIL, 0), OK);
        turns(1);
    }
    while (conn && conn->outbox.bytes < 540000)
        assert_int_equal(send_bulk(20000, MSG_SIGNAL, 3), OK);
    assert_int_equal(send_bulk(100000, MSG_SIGNAL, 2), ERR_FULL); /* sheds none of a higher level */
    assert_true(conn && conn->outbox.signal_bytes > 0);
    assert_int_equal(send_bulk(100000, MSG_SIGNAL, 4), OK);
    assert_true(conn && conn->outbox.bytes <= host.queue_bytes_max);
    assert_int_equal(send_bulk(100000, MSG_MAIL, -9), OK); /* mail goes before any signal */
    assert_true(conn && conn->outbox.bytes <= host.queue_bytes_max);
    while (send_bulk(50000, MSG_MAIL, 0) == OK)
        assert_true(conn && conn->outbox.bytes <= host.queue_bytes_max);
    assert_int_equal(conn->outbox.signal_bytes, 0);
    assert_true(conn && conn_is_open(conn));
    assert_int_equal(send_bulk(50000, MSG_ANSWER, 0), OK); /* answers are never bounded here */
}

static void raw_bytes_leave_before_everything_else(void **state)
{
    (void)state;
    assert_int_equal(conn_send_raw(conn, SLICE("HTTP/1.1 101\r\n\r\n")), OK);
    send_text("welcome", MSG_ANSWER, 0);
    turns(1);
    peer_read(&peer);
    assert_memory_equal(peer.in.data, "HTTP/1.1 101\r\n\r\n", 16);
    peer.at = 16;
    expect_frame(&peer, WS_TEXT, "welcome");
}

static void a_connection_that_ends_while_it_is_written_is_freed_a_turn_later(void **state)
{
    (void)state;
    conn_ask_for_room(conn, 1000);
    turns(1);
    assert_int_equal(closing_count, 1);
    turns(1);
    assert_int_equal(gone_count, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_ping_is_answered_with_its_payload),
        T(of_many_pings_fifteen_and_the_latest_are_answered),
        T(a_silent_peer_is_pinged_then_closed),
        T(anything_at_all_keeps_a_peer_alive),
        T(after_a_stop_a_peer_has_its_whole_time_to_answer),
        T(the_owners_deadline_comes_once_and_can_be_moved),
        T(who_reads_no_answers_is_not_read_either),
        T(a_reader_that_takes_nothing_is_closed_as_too_slow),
        T(a_slow_reader_that_takes_something_stays),
        T(a_slow_reader_that_cannot_answer_a_ping_stays_until_it_takes_nothing),
        T(a_peer_that_has_taken_everything_must_answer_the_ping),
        T(the_slow_readers_time_begins_when_something_waits),
        T(a_full_queue_sheds_signals_and_refuses_mail),
        T(raw_bytes_leave_before_everything_else),
        T(a_connection_that_ends_while_it_is_written_is_freed_a_turn_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
