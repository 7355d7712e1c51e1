/* A connection that compresses: its turn, its bounds, and the order in which a context must leave.
 */
#include "worker/wire/conn.h"

#include "wire_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum { MESSAGE_MAX = 1 << 20 };

static struct conn_host host;
static struct conn *conn; /* NULL once it has gone */
static struct peer peer;
static unsigned message_count;
static size_t message_len;
static struct buf left;   /* the numbers of stored messages that have left */
static z_stream inflater; /* the peer's, with a context that lasts */

static void on_message(struct conn *from, enum ws_opcode opcode, struct slice payload)
{
    assert_ptr_equal(from, conn);
    (void)opcode;
    message_count++;
    message_len = payload.len;
}

static void on_nothing(struct conn *of)
{
    (void)of;
}

static void on_stored_left(struct conn *of, struct outbox_position position)
{
    (void)of;
    buf_addf(&left, "%u ", (unsigned)position.number);
}

static void on_gone(struct conn *of)
{
    free(of);
    conn = NULL;
}

static void on_turn_end(void *arg)
{
    (void)arg;
    conn_host_flush(&host);
}

static void start(bool takeover)
{
    conn = calloc(1, sizeof *conn);
    assert_int_equal(conn_start(conn, &host, peer_open(&peer), NULL), OK);
    assert_int_equal(conn_compress(conn, &(struct deflate_terms){ .agreed = true,
                                                                  .server_takeover = takeover,
                                                                  .client_takeover = takeover,
                                                                  .server_bits = 15,
                                                                  .client_bits = 15 }),
                     OK);
}

static int setup(void **state)
{
    static const struct conn_calls calls = { .message = on_message,
                                             .deadline = on_nothing,
                                             .has_room = on_nothing,
                                             .stored_left = on_stored_left,
                                             .closing = on_nothing,
                                             .gone = on_gone };

    (void)state;
    message_count = 0;
    loop = loop_new();
    conn_host_init(&host, loop, NULL, &calls, NULL);
    host.message_bytes_max = MESSAGE_MAX;
    host.queue_bytes_max = 1 << 20;
    host.answer_bytes_max = 256 * 1024;
    host.ping_ms = host.pong_ms = host.slow_ms = 30000;
    host.close_ms = 5000;
    deflate_host_set(&host.deflate, &(struct deflate_settings){ .enabled = true,
                                                                .takeover = true,
                                                                .level = 1,
                                                                .mem_level = 8,
                                                                .window_bits = 15,
                                                                .takeover_max = 10 });
    loop_add_hook(loop, on_turn_end, NULL);
    loop_add_hook(loop, count_turn, NULL);
    buf_init(&left, 1 << 20);
    inflater = (z_stream){ 0 };
    assert_int_equal(inflateInit2(&inflater, -15), Z_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (conn) {
        conn_abort(conn);
        conn_host_flush(&host);
    }
    assert_null(conn);
    assert_int_equal(host.deflate.takeover_count, 0);
    peer_close(&peer);
    deflate_host_fini(&host.deflate);
    inflateEnd(&inflater);
    buf_fini(&left);
    loop_free(loop);
    return 0;
}

/* Appends a compressed message of `len` bytes, all alike. */
static void add_zeros(struct buf *out, size_t len)
{
    static uint8_t packed[64 * 1024];
    uint8_t *zeros = calloc(1, len);
    z_stream z = { .next_in = zeros, .avail_in = (uInt)len };

    z.next_out = packed;
    z.avail_out = sizeof packed;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    frame_add(out, 0x80 | WS_COMPRESSED | WS_BINARY, packed, sizeof packed - z.avail_out - 4);
    deflateEnd(&z);
    free(zeros);
}

static void messages_that_inflate_to_much_come_one_a_turn(void **state)
{
    struct buf out;

    (void)state;
    start(false);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 8; i++)
        add_zeros(&out, MESSAGE_MAX);
    frame_add(&out, 0x80 | WS_PING, "still here", 10);
    peer_send(&peer, out.data, out.len);
    for (unsigned i = 1; i <= 8; i++) {
        turns(1);
        assert_int_equal(message_count, i);
        assert_int_equal(message_len, MESSAGE_MAX);
    }
    turns(2);
    expect_frame(&peer, WS_PONG, "still here");
    /* Small ones come all at once. */
    buf_reset(&out);
    for (int i = 0; i < 20; i++)
        add_zeros(&out, 1000);
    peer_send(&peer, out.data, out.len);
    turns(1);
    assert_int_equal(message_count, 28);
    buf_fini(&out);
}

static void a_connection_that_is_held_rests_until_it_is_released(void **state)
{
    struct buf out;

    (void)state;
    start(false);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 4; i++)
        add_zeros(&out, MESSAGE_MAX);
    peer_send(&peer, out.data, out.len);
    turns(1);
    assert_int_equal(message_count, 1);
    assert_non_null(conn);
    conn_hold(conn);
    turns(5);
    assert_int_equal(message_count, 1);
    conn_release(conn);
    turns(4);
    assert_int_equal(message_count, 4);
    buf_fini(&out);
}

static void a_connection_may_end_while_it_rests(void **state)
{
    struct buf out;

    (void)state;
    start(false);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 4; i++)
        add_zeros(&out, MESSAGE_MAX);
    frame_add(&out, 0x80 | WS_CLOSE, "\x03\xe8", 2);
    peer_send(&peer, out.data, out.len);
    turns(1);
    assert_non_null(conn);
    conn_close(conn, 1012, SLICE("bye"));
    turns(3);
    expect_close(&peer, 1012);
    assert_int_equal(message_count, 1); /* what comes behind our close frame is dropped */
    close(peer.fd);
    peer.fd = -1;
    turns(3);
    assert_null(conn);
    buf_fini(&out);
}

static void a_message_that_inflates_past_the_limit_is_1009(void **state)
{
    struct buf out;

    (void)state;
    start(false);
    buf_init(&out, 1 << 20);
    add_zeros(&out, MESSAGE_MAX + 1);
    peer_send(&peer, out.data, out.len);
    turns(2);
    assert_int_equal(message_count, 0);
    expect_close(&peer, 1009);
    buf_fini(&out);
}

/* Reads the next frame as a client with takeover does. Returns the text; NULL: none is there. */
static const char *next_text(void)
{
    static char text[128 * 1024];
    struct slice payload;
    size_t at = peer.at;

    peer_read(&peer);
    if (peer.in.len - at < 2)
        return NULL;
    if (!(peer.in.data[at] & WS_COMPRESSED)) {
        if (peer_next(&peer, &payload) != WS_TEXT)
            return NULL;
        memcpy(text, payload.data, payload.len);
        text[payload.len] = 0;
        return text;
    }
    peer.in.data[at] = (char)(peer.in.data[at] & ~WS_COMPRESSED);
    if (peer_next(&peer, &payload) != WS_TEXT) {
        peer.in.data[at] = (char)(peer.in.data[at] | WS_COMPRESSED);
        return NULL;
    }
    inflater.next_in = (Bytef *)(uintptr_t)payload.data;
    inflater.avail_in = (uInt)payload.len;
    inflater.next_out = (Bytef *)text;
    inflater.avail_out = sizeof text - 1;
    assert_int_equal(inflate(&inflater, Z_SYNC_FLUSH), Z_OK);
    inflater.next_in = (Bytef *)(uintptr_t) "\0\0\xff\xff";
    inflater.avail_in = 4;
    assert_true(inflate(&inflater, Z_SYNC_FLUSH) >= Z_BUF_ERROR);
    text[sizeof text - 1 - inflater.avail_out] = 0;
    return text;
}

static struct msg *text_msg(unsigned number, size_t len, enum msg_kind kind, int level, bool noise)
{
    struct msg *msg = msg_make(len, kind, level);
    int used = snprintf(msg->data, len, "{\"n\":%u,\"text\":\"", number);

    for (size_t i = (size_t)used; i < len; i++)
        msg->data[i] = (char)(noise ? 1 + (rand() >> 7) % 255 : 'a' + (int)(i % 23));
    return msg;
}

/* The socket takes a part of what is queued, more is queued at higher levels meanwhile, signals are
 * shed: whatever leaves can be read, each stored message once, with its position in front. */
static void a_context_is_in_order_whatever_the_socket_takes(void **state)
{
    unsigned got = 0, mails = 0, sizes[] = { 40, 300, 3000, 20000, 70000, 100000 };
    const char *text;
    bool noise;

    (void)state;
    srand(1);
    start(true);
    for (unsigned round = 0; round < 400; round++) {
        struct msg *msg;
        int level = rand() % 19 - 9;
        assert_non_null(conn);
        noise = rand() % 4 == 0;
        msg = text_msg(round, sizes[(unsigned)rand() % 6], rand() % 2 ? MSG_MAIL : MSG_SIGNAL,
                       level, noise);
        if (msg->kind == MSG_MAIL)
            assert_int_equal(
                conn_send_at(conn, msg,
                             (struct outbox_position){ .ms = 7, .n = round, .number = ++mails }),
                OK);
        else
            conn_send(conn, msg);
        msg_unref(msg);
        if (rand() % 10 == 0)
            conn_answer(conn, WS_TEXT,
                        SLICE("{\"answer\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"));
        if (rand() % 3 == 0)
            turns(1);
        if (rand() % 20 == 0)
            while ((text = next_text())) {
                assert_true(strncmp(text, "{\"n\":", 5) == 0 ||
                            strncmp(text, "{\"seq\":\"7-", 10) == 0 ||
                            strncmp(text, "{\"answer\"", 9) == 0);
                got++;
            }
    }
    for (unsigned i = 0; i < 100; i++) {
        turns(1);
        while ((text = next_text())) {
            if (strncmp(text, "{\"seq\":\"7-", 10) == 0)
                assert_int_equal(strtoul(text + 10, NULL, 10),
                                 strtoul(strstr(text, "\"n\":") + 4, NULL, 10));
            got++;
        }
    }
    assert_true(got >= mails);
    assert_non_null(conn);
    assert_int_equal(conn_waiting(conn), 0);
    for (unsigned count = 0, i = 0; i <= left.len; i++) { /* each of them has left */
        count += i < left.len && left.data[i] == ' ';
        if (i == left.len)
            assert_int_equal(count, mails);
    }
}

static void a_stored_message_leaves_compressed_behind_its_position(void **state)
{
    struct msg *msg = text_msg(5, 3000, MSG_MAIL, 0, false);
    struct msg *log = msg_new(SLICE("\"log\":\"#group\","), MSG_ANSWER, 0);
    const char *text;

    (void)state;
    start(false);
    assert_int_equal(
        conn_send_at(conn, msg,
                     (struct outbox_position){ .ms = 12, .n = 34, .number = 1, .log = log }),
        OK);
    assert_true(conn_waiting(conn) < 400);
    turns(1);
    assert_true(peer.in.len < 400);
    text = next_text();
    assert_non_null(text);
    assert_memory_equal(text, "{\"seq\":\"12-34\",\"log\":\"#group\",\"n\":5,\"text\":\"", 42);
    assert_int_equal(strlen(text), 3000 - 1 + strlen("{\"seq\":\"12-34\",\"log\":\"#group\","));
    assert_string_equal(buf_text(&left), "1 ");
    msg_unref(log);
    msg_unref(msg);
}

static void what_a_held_connection_is_fed_waits(void **state)
{
    struct buf out;

    (void)state;
    start(false);
    buf_init(&out, 1 << 20);
    add_zeros(&out, 1000);
    conn_hold(conn);
    conn_feed(conn, buf_slice(&out));
    buf_fini(&out);
    turns(3);
    assert_int_equal(message_count, 0);
    assert_non_null(conn);
    conn_release(conn);
    turns(2);
    assert_int_equal(message_count, 1);
    assert_int_equal(message_len, 1000);
}

/* Sends a text of this length, and returns whether it left compressed. */
static bool leaves_compressed(unsigned number, size_t len)
{
    struct msg *msg = text_msg(number, len, MSG_SIGNAL, 0, false);
    uint64_t before;
    bool compressed;

    assert_non_null(conn);
    before = conn_waiting(conn);
    assert_int_equal(conn_send(conn, msg), OK);
    compressed = conn_waiting(conn) - before < len / 2;
    turns(2);
    msg_unref(msg);
    return compressed;
}

static void large_messages_are_compressed_within_their_share(void **state)
{
    static char text[80000];
    struct deflate_settings settings = host.deflate.settings;

    (void)state;
    memset(text, 'x', sizeof text);
    settings.large_per_s = 100000;
    deflate_host_set(&host.deflate, &settings);
    start(false);
    assert_true(leaves_compressed(1, 80000));
    assert_true(leaves_compressed(2, 80000)); /* more than is left: a debt of 60,000 */
    assert_false(leaves_compressed(3, 80000));
    assert_true(leaves_compressed(4, DEFLATE_LARGE)); /* not a large one */
    assert_non_null(conn);
    assert_int_equal(conn_answer(conn, WS_TEXT, slice_make(text, sizeof text)), OK);
    assert_true(conn->outbox.answer_bytes >= sizeof text);
    turns(2);
    deflate_host_beat(&host.deflate);
    assert_true(leaves_compressed(5, 80000)); /* of the 40,000 that the beat has brought */
    assert_false(leaves_compressed(6, 80000));
    deflate_host_beat(&host.deflate);
    deflate_host_beat(&host.deflate);
    assert_true(leaves_compressed(7, 80000));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(messages_that_inflate_to_much_come_one_a_turn),
        T(a_connection_that_is_held_rests_until_it_is_released),
        T(a_connection_may_end_while_it_rests),
        T(what_a_held_connection_is_fed_waits),
        T(large_messages_are_compressed_within_their_share),
        T(a_message_that_inflates_past_the_limit_is_1009),
        T(a_context_is_in_order_whatever_the_socket_takes),
        T(a_stored_message_leaves_compressed_behind_its_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
