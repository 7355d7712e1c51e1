#include "worker/wire/conn.h"

#include "wire_fixture.h"

#include <stdlib.h>

enum { PING_MS = 25000, PONG_MS = 20000, SLOW_MS = 30000, CLOSE_MS = 5000, LINGER_MS = 2000 };

static struct conn_host host;
static struct conn *conn; /* NULL once it has gone */
static struct peer peer;
static struct buf heard; /* each message, ended by ';' */
static unsigned message_count, deadline_count, closing_count, gone_count;
static int last_opcode;
static void (*on_heard)(struct conn *conn,
                        struct slice payload); /* what the owner does, if anything */

static void on_message(struct conn *from, enum ws_opcode opcode, struct slice payload)
{
    assert_ptr_equal(from, conn);
    message_count++;
    last_opcode = (int)opcode;
    buf_add_slice(&heard, payload);
    buf_add_char(&heard, ';');
    if (on_heard)
        on_heard(from, payload);
}

static void on_deadline(struct conn *of)
{
    assert_ptr_equal(of, conn);
    deadline_count++;
}

/* As an owner whose allocation fails: something is queued, and the connection ends. */
static void on_room(struct conn *of)
{
    assert_int_equal(conn_answer(of, WS_TEXT, SLICE("the last")), OK);
    conn_abort_no_memory(of);
}

static void on_closing(struct conn *of)
{
    assert_ptr_equal(of, conn);
    assert_int_equal(gone_count, 0);
    assert_false(conn_is_open(of));
    closing_count++;
}

static void on_gone(struct conn *of)
{
    assert_ptr_equal(of, conn);
    assert_int_equal(closing_count, 1);
    gone_count++;
    free(of);
    conn = NULL;
}

static bool owes; /* what the owner says when asked */

static bool on_owes(struct conn *of)
{
    assert_ptr_equal(of, conn);
    return owes;
}

static bool tick_wanted;

static void on_turn_end(void *arg)
{
    (void)arg;
    if (tick_wanted)
        wheel_run(&host.wheel, loop_now_ms(loop));
    tick_wanted = false;
    conn_host_flush(&host);
}

static void tick(void)
{
    tick_wanted = true;
    turns(1);
}

static void start(void)
{
    message_count = deadline_count = closing_count = gone_count = 0;
    on_heard = NULL;
    owes = false;
    buf_reset(&heard);
    conn = calloc(1, sizeof *conn);
    assert_int_equal(conn_start(conn, &host, peer_open(&peer), NULL), OK);
}

/* Whatever a test has left. */
static void finish(void)
{
    if (conn) {
        conn_abort(conn);
        conn_host_flush(&host);
    }
    assert_null(conn);
    assert_int_equal(gone_count, 1);
    assert_int_equal(host.open_count, 0);
    peer_close(&peer);
}

static int setup(void **state)
{
    static const struct conn_calls calls = {
        .message = on_message,
        .deadline = on_deadline,
        .has_room = on_room,
        .owes_answers = on_owes,
        .closing = on_closing,
        .gone = on_gone,
    };

    (void)state;
    loop = loop_new();
    conn_host_init(&host, loop, NULL, &calls, NULL);
    host.message_bytes_max = 1 << 20;
    host.queue_bytes_max = 1 << 20;
    host.answer_bytes_max = 256 * 1024;
    host.ping_ms = PING_MS;
    host.pong_ms = PONG_MS;
    host.slow_ms = SLOW_MS;
    host.close_ms = CLOSE_MS;
    loop_add_hook(loop, on_turn_end, NULL);
    loop_add_hook(loop, count_turn, NULL);
    buf_init(&heard, 64 << 20);
    start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    finish();
    buf_fini(&heard);
    loop_free(loop);
    return 0;
}

/* Time passes, tick by tick, as the worker's clock does it. */
static void pass_ms(uint64_t ms)
{
    for (uint64_t end = clock_ms + ms; clock_ms < end;) {
        clock_ms += end - clock_ms < WHEEL_TICK_MS ? end - clock_ms : WHEEL_TICK_MS;
        tick();
    }
}

static void send_text(const char *text, enum msg_kind kind, int level)
{
    struct msg *msg = msg_new(slice_of(text), kind, level);

    assert_non_null(conn);
    assert_int_equal(conn_send(conn, msg), OK);
    msg_unref(msg);
}

static enum err send_bulk(size_t len, enum msg_kind kind, int level)
{
    struct msg *msg = msg_make(len, kind, level);
    enum err err;

    assert_non_null(conn);
    memset(msg->data, 'x', len);
    err = conn_send(conn, msg);
    msg_unref(msg);
    return err;
}

/* ---- messages ---- */

static void a_whole_message_is_handed_over(void **state)
{
    (void)state;
    peer_text(&peer, "hello");
    turns(1);
    assert_int_equal(last_opcode, WS_TEXT);
    peer_frame(&peer, 0x80 | WS_BINARY, "bytes", 5);
    peer_frame(&peer, 0x80 | WS_TEXT, "", 0);
    turns(1);
    assert_string_equal(buf_text(&heard), "hello;bytes;;");
}

/* Three fragments, a ping among them, then a second message. */
static void add_fragments(struct buf *out)
{
    frame_add(out, WS_TEXT, "one ", 4);
    frame_add(out, 0x80 | WS_PING, "p", 1);
    frame_add(out, WS_CONTINUATION, "", 0);
    frame_add(out, 0x80 | WS_CONTINUATION, "two", 3);
    frame_add(out, 0x80 | WS_BINARY, "three", 5);
}

static void a_message_is_the_same_however_it_is_cut(void **state)
{
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 4096);
    add_fragments(&bytes);
    for (size_t cut = 1; cut < bytes.len; cut++) {
        peer_send(&peer, bytes.data, cut);
        turns(1);
        peer_send(&peer, bytes.data + cut, bytes.len - cut);
        turns(1);
        assert_string_equal(buf_text(&heard), "one two;three;");
        expect_frame(&peer, WS_PONG, "p");
        expect_nothing(&peer);
        finish();
        start();
    }
    buf_fini(&bytes);
}

static void a_message_can_come_byte_by_byte(void **state)
{
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 4096);
    add_fragments(&bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        peer_send(&peer, bytes.data + i, 1);
        turns(1);
    }
    assert_string_equal(buf_text(&heard), "one two;three;");
    assert_null(conn->leftover);
    assert_null(conn->message);
    buf_fini(&bytes);
}

static void empty_fragments_make_an_empty_message(void **state)
{
    (void)state;
    peer_frame(&peer, WS_TEXT, "", 0);
    turns(1);
    peer_frame(&peer, 0x80 | WS_CONTINUATION, "", 0);
    turns(1);
    assert_string_equal(buf_text(&heard), ";");
}

static void a_large_message_is_put_together(void **state)
{
    size_t len = 300000, sent = 0;
    char *text = malloc(len);
    struct buf frame;

    (void)state;
    memset(text, 'm', len);
    buf_init(&frame, 1 << 20);
    frame_add(&frame, 0x80 | WS_TEXT, text, len);
    while (sent < frame.len && conn) {
        sent += peer_try_send(&peer, frame.data + sent, frame.len - sent);
        turns(1);
    }
    turns(2);
    assert_int_equal(message_count, 1);
    assert_int_equal(heard.len, len + 1);
    assert_null(conn->message);
    buf_fini(&frame);
    free(text);
}

static void bytes_behind_the_upgrade_are_taken_first(void **state)
{
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 4096);
    add_fragments(&bytes);
    conn_feed(conn, slice_make(bytes.data, 9));
    peer_send(&peer, bytes.data + 9, bytes.len - 9);
    turns(1);
    assert_string_equal(buf_text(&heard), "one two;three;");
    buf_fini(&bytes);
}

static void what_a_peer_leaves_unfinished_is_freed_with_it(void **state)
{
    (void)state;
    peer_frame(&peer, WS_TEXT, "the first half", 14);
    peer_send(&peer, "\x80\xff\x00", 3); /* a part of the next frame's head */
    turns(1);
    assert_non_null(conn->message);
    assert_non_null(conn->leftover);
    close(peer.fd);
    peer.fd = -1;
    turns(1);
    assert_null(conn);
    assert_int_equal(message_count, 0);
}

static void a_lowered_limit_counts_from_the_next_message(void **state)
{
    char text[2000];

    (void)state;
    memset(text, 'm', sizeof text);
    peer_frame(&peer, WS_TEXT, text, sizeof text);
    turns(1);
    host.message_bytes_max = 1024;
    peer_frame(&peer, 0x80 | WS_CONTINUATION, "!", 1);
    turns(1);
    assert_int_equal(message_count, 1);
    peer_frame(&peer, 0x80 | WS_TEXT, text, sizeof text);
    turns(1);
    assert_int_equal(message_count, 1);
    expect_close(&peer, WS_CLOSE_TOO_BIG);
}

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

/* ---- closing ---- */

static void a_peer_that_closes_is_answered_in_kind(void **state)
{
    (void)state;
    send_text("never read", MSG_MAIL, 0);
    peer_send_close(&peer, WS_CLOSE_NORMAL);
    turns(1);
    expect_close(&peer, WS_CLOSE_NORMAL);
    assert_true(peer.ended);
    assert_int_equal(closing_count, 1);
    assert_int_equal(gone_count, 0);
    close(peer.fd);
    peer.fd = -1;
    turns(1);
    assert_null(conn);
}

static void a_close_without_a_code_is_answered_without_one(void **state)
{
    (void)state;
    peer_frame(&peer, 0x80 | WS_CLOSE, "", 0);
    turns(1);
    expect_close(&peer, WS_CLOSE_NO_STATUS);
}

static void nothing_behind_a_close_frame_is_looked_at(void **state)
{
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 4096);
    frame_add(&bytes, 0x80 | WS_CLOSE, "\x03\xe8", 2);
    frame_add(&bytes, 0x80 | WS_TEXT, "too late", 8);
    frame_add(&bytes, 0x80 | WS_PING, "", 0);
    peer_send(&peer, bytes.data, bytes.len);
    turns(1);
    peer_text(&peer, "much too late");
    turns(2);
    assert_int_equal(message_count, 0);
    expect_close(&peer, WS_CLOSE_NORMAL);
    assert_int_equal(peer.at, peer.in.len);
    buf_fini(&bytes);
}

static void our_close_follows_what_was_queued_and_waits_for_theirs(void **state)
{
    struct msg *msg = msg_new(SLICE("late"), MSG_MAIL, 0);

    (void)state;
    send_text("first", MSG_MAIL, 0);
    send_text("goodbye", MSG_LAST, 0);
    send_text("answer", MSG_ANSWER, 0);
    conn_close(conn, WS_CLOSE_REPLACED, SLICE("replaced"));
    assert_int_equal(closing_count, 1);
    assert_int_equal(conn_send(conn, msg), ERR_DOWN);
    conn_close(conn, WS_CLOSE_NORMAL, SLICE("again"));
    turns(1);
    expect_frame(&peer, WS_TEXT, "answer");
    expect_frame(&peer, WS_TEXT, "first");
    expect_frame(&peer, WS_TEXT, "goodbye");
    expect_close(&peer, WS_CLOSE_REPLACED);
    assert_false(peer.ended);
    peer_text(&peer, "not heard any more");
    turns(1);
    assert_int_equal(message_count, 0);
    peer_send_close(&peer, WS_CLOSE_REPLACED);
    turns(1);
    peer_read(&peer);
    assert_true(peer.ended);
    assert_int_equal(peer.at, peer.in.len);
    close(peer.fd);
    peer.fd = -1;
    turns(1);
    assert_null(conn);
    msg_unref(msg);
}

static void a_peer_that_never_answers_a_close_goes_after_a_while(void **state)
{
    (void)state;
    conn_close(conn, WS_CLOSE_DRAINING, SLICE(""));
    pass_ms(CLOSE_MS - WHEEL_TICK_MS);
    assert_non_null(conn);
    pass_ms(3 * WHEEL_TICK_MS);
    assert_null(conn);
}

static void patience_can_be_moved_both_ways(void **state)
{
    (void)state;
    conn_close(conn, WS_CLOSE_DRAINING, SLICE(""));
    conn_set_patience(conn, clock_ms + 3 * CLOSE_MS);
    pass_ms(2 * CLOSE_MS);
    assert_non_null(conn);
    conn_set_patience(conn, clock_ms + 500);
    pass_ms(1000);
    assert_null(conn);
}

static void a_broken_frame_is_told_and_nothing_more_is_read(void **state)
{
    (void)state;
    peer_send(&peer, "\x81\x02hi", 4); /* not masked */
    turns(1);
    expect_close(&peer, WS_CLOSE_PROTOCOL);
    assert_true(peer.ended); /* our side is done; theirs may still send */
    assert_int_equal(closing_count, 1);
    peer_text(&peer, "hello?");
    turns(1);
    assert_int_equal(message_count, 0);
    assert_non_null(conn);
    pass_ms(LINGER_MS + 2 * WHEEL_TICK_MS);
    assert_null(conn);
}

/* Good messages, a fault, and a message behind the fault, in one segment. */
static void send_good_and_bad(void)
{
    struct buf bytes;

    buf_init(&bytes, 1 << 16);
    frame_add(&bytes, 0x80 | WS_TEXT, "good", 4);
    frame_add(&bytes, 0x80 | WS_PING, "beat", 4);
    frame_add(&bytes, 0x80 | 3, "bad", 3);
    frame_add(&bytes, 0x80 | WS_TEXT, "behind", 6);
    peer_send(&peer, bytes.data, bytes.len);
    buf_fini(&bytes);
}

static void answers_leave_before_the_close_frame_of_a_fault(void **state)
{
    (void)state;
    owes = true;
    assert_int_equal(conn_answer(conn, WS_TEXT, SLICE("early")), OK);
    send_good_and_bad();
    turns(1);
    expect_frame(&peer, WS_TEXT, "early");
    expect_frame(&peer, WS_PONG, "beat");
    peer_text(&peer, "much later");
    pass_ms(1000);
    expect_nothing(&peer);
    assert_int_equal(closing_count, 0);
    assert_int_equal(message_count, 1);
    assert_int_equal(conn_answer(conn, WS_TEXT, SLICE("late")), OK);
    owes = false;
    conn_answered(conn);
    assert_int_equal(closing_count, 1);
    turns(1);
    expect_frame(&peer, WS_TEXT, "late");
    expect_close(&peer, WS_CLOSE_PROTOCOL);
    assert_true(peer.ended);
    assert_int_equal(message_count, 1);
}

static void an_answer_that_never_comes_delays_the_close_frame_by_a_bound(void **state)
{
    (void)state;
    owes = true;
    send_good_and_bad();
    turns(1);
    expect_frame(&peer, WS_PONG, "beat");
    pass_ms(CLOSE_MS - 2 * WHEEL_TICK_MS);
    expect_nothing(&peer);
    pass_ms(4 * WHEEL_TICK_MS);
    expect_close(&peer, WS_CLOSE_PROTOCOL);
    assert_non_null(conn);
    conn_answered(conn); /* too late, and harmless */
    pass_ms(LINGER_MS + 2 * WHEEL_TICK_MS);
    assert_null(conn);
}

static void who_is_to_be_closed_when_answered_is_read_no_more(void **state)
{
    (void)state;
    owes = true;
    conn_close_answered(conn, WS_CLOSE_ERRORS, "too many errors");
    conn_close_answered(conn, WS_CLOSE_GOING_AWAY, "not twice");
    peer_text(&peer, "ignored");
    turns(1);
    assert_int_equal(message_count, 0);
    assert_int_equal(closing_count, 0);
    conn_answered(conn);
    turns(1);
    expect_close(&peer, WS_CLOSE_ERRORS);
}

static void a_frame_too_large_is_refused_from_its_head(void **state)
{
    (void)state;
    peer_send(&peer, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 14);
    turns(1);
    expect_close(&peer, WS_CLOSE_TOO_BIG);
    assert_null(conn->message);
}

static void a_broken_frame_during_our_close_ends_it(void **state)
{
    (void)state;
    conn_close(conn, WS_CLOSE_NORMAL, SLICE(""));
    turns(1);
    peer_send(&peer, "\xff\xff", 2);
    turns(1);
    expect_close(&peer, WS_CLOSE_NORMAL);
    peer_read(&peer);
    assert_true(peer.ended);
    assert_int_equal(peer.at, peer.in.len); /* one close frame, not two */
}

static void close_it(struct conn *of, struct slice payload)
{
    (void)payload;
    conn_close(of, WS_CLOSE_ADMIN, SLICE(""));
}

static void abort_it(struct conn *of, struct slice payload)
{
    (void)payload;
    conn_abort(of);
    conn_abort(of);
    assert_int_equal(gone_count, 0); /* the memory stays until the turn ends */
}

static void the_owner_may_end_it_from_within_a_message(void **state)
{
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 4096);
    frame_add(&bytes, 0x80 | WS_TEXT, "1", 1);
    frame_add(&bytes, 0x80 | WS_TEXT, "2", 1);
    on_heard = close_it;
    peer_send(&peer, bytes.data, bytes.len);
    turns(1);
    assert_string_equal(buf_text(&heard), "1;");
    expect_close(&peer, WS_CLOSE_ADMIN);
    finish();
    start();
    on_heard = abort_it;
    peer_frame(&peer, WS_TEXT, "in ", 3);
    peer_frame(&peer, 0x80 | WS_CONTINUATION, "pieces", 6);
    peer_send(&peer, bytes.data, bytes.len);
    turns(1);
    assert_string_equal(buf_text(&heard), "in pieces;");
    assert_null(conn);
    buf_fini(&bytes);
}

static void a_peer_that_hangs_up_is_gone_at_once(void **state)
{
    (void)state;
    send_text("unread", MSG_MAIL, 0);
    close(peer.fd);
    peer.fd = -1;
    turns(1);
    assert_null(conn);
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
        T(a_whole_message_is_handed_over),
        T(a_message_is_the_same_however_it_is_cut),
        T(a_message_can_come_byte_by_byte),
        T(empty_fragments_make_an_empty_message),
        T(a_large_message_is_put_together),
        T(bytes_behind_the_upgrade_are_taken_first),
        T(what_a_peer_leaves_unfinished_is_freed_with_it),
        T(a_lowered_limit_counts_from_the_next_message),
        T(a_ping_is_answered_with_its_payload),
        T(of_many_pings_fifteen_and_the_latest_are_answered),
        T(a_silent_peer_is_pinged_then_closed),
        T(anything_at_all_keeps_a_peer_alive),
        T(after_a_stop_a_peer_has_its_whole_time_to_answer),
        T(a_peer_that_closes_is_answered_in_kind),
        T(a_close_without_a_code_is_answered_without_one),
        T(nothing_behind_a_close_frame_is_looked_at),
        T(our_close_follows_what_was_queued_and_waits_for_theirs),
        T(a_peer_that_never_answers_a_close_goes_after_a_while),
        T(patience_can_be_moved_both_ways),
        T(a_broken_frame_is_told_and_nothing_more_is_read),
        T(answers_leave_before_the_close_frame_of_a_fault),
        T(an_answer_that_never_comes_delays_the_close_frame_by_a_bound),
        T(who_is_to_be_closed_when_answered_is_read_no_more),
        T(a_frame_too_large_is_refused_from_its_head),
        T(a_broken_frame_during_our_close_ends_it),
        T(the_owner_may_end_it_from_within_a_message),
        T(a_peer_that_hangs_up_is_gone_at_once),
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
