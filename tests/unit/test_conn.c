/* A connection: whole messages, and the close handshake. */
#include "conn_fixture.h"

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

/* Bytes that a client had under way are read; a client that sends on without end is cut before the
 * time is over. */
static void a_peer_that_sends_on_after_our_close_is_cut_at_a_bound(void **state)
{
    static char junk[64 * 1024];
    size_t sent = 0, bound = host.message_bytes_max + (16 << 20);

    (void)state;
    peer_send(&peer, "\x81\x02hi", 4); /* not masked */
    turns(1);
    while (conn && sent < 2 * bound) {
        ssize_t n = send(peer.fd, junk, sizeof junk, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        turns(1);
    }
    assert_null(conn);
    assert_in_range(sent, bound, bound + (1 << 20));
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
        T(a_peer_that_closes_is_answered_in_kind),
        T(a_close_without_a_code_is_answered_without_one),
        T(nothing_behind_a_close_frame_is_looked_at),
        T(our_close_follows_what_was_queued_and_waits_for_theirs),
        T(a_peer_that_never_answers_a_close_goes_after_a_while),
        T(patience_can_be_moved_both_ways),
        T(a_broken_frame_is_told_and_nothing_more_is_read),
        T(a_peer_that_sends_on_after_our_close_is_cut_at_a_bound),
        T(answers_leave_before_the_close_frame_of_a_fault),
        T(an_answer_that_never_comes_delays_the_close_frame_by_a_bound),
        T(who_is_to_be_closed_when_answered_is_read_no_more),
        T(a_frame_too_large_is_refused_from_its_head),
        T(a_broken_frame_during_our_close_ends_it),
        T(the_owner_may_end_it_from_within_a_message),
        T(a_peer_that_hangs_up_is_gone_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
