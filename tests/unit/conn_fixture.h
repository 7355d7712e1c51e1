/*
 * The shared part of the tests of connections: one connection whose owner notes what it is called
 * with, and the peer's end of its socket.
 */
#ifndef TESTS_UNIT_CONN_FIXTURE_H
#define TESTS_UNIT_CONN_FIXTURE_H

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

static inline void on_message(struct conn *from, enum ws_opcode opcode, struct slice payload)
{
    assert_ptr_equal(from, conn);
    message_count++;
    last_opcode = (int)opcode;
    buf_add_slice(&heard, payload);
    buf_add_char(&heard, ';');
    if (on_heard)
        on_heard(from, payload);
}

static inline void on_deadline(struct conn *of)
{
    assert_ptr_equal(of, conn);
    deadline_count++;
}

/* As an owner whose allocation fails: something is queued, and the connection ends. */
static inline void on_room(struct conn *of)
{
    assert_int_equal(conn_answer(of, WS_TEXT, SLICE("the last")), OK);
    conn_abort_no_memory(of);
}

static inline void on_closing(struct conn *of)
{
    assert_ptr_equal(of, conn);
    assert_int_equal(gone_count, 0);
    assert_false(conn_is_open(of));
    closing_count++;
}

static inline void on_gone(struct conn *of)
{
    assert_ptr_equal(of, conn);
    assert_int_equal(closing_count, 1);
    gone_count++;
    free(of);
    conn = NULL;
}

static bool owes; /* what the owner says when asked */

static inline bool on_owes(struct conn *of)
{
    assert_ptr_equal(of, conn);
    return owes;
}

static bool tick_wanted;

static inline void on_turn_end(void *arg)
{
    (void)arg;
    if (tick_wanted)
        wheel_run(&host.wheel, loop_now_ms(loop));
    tick_wanted = false;
    conn_host_flush(&host);
}

static inline void tick(void)
{
    tick_wanted = true;
    turns(1);
}

static inline void start(void)
{
    message_count = deadline_count = closing_count = gone_count = 0;
    on_heard = NULL;
    owes = false;
    buf_reset(&heard);
    conn = calloc(1, sizeof *conn);
    assert_int_equal(conn_start(conn, &host, peer_open(&peer), NULL), OK);
}

/* Whatever a test has left. */
static inline void finish(void)
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

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
    (void)state;
    finish();
    buf_fini(&heard);
    loop_free(loop);
    return 0;
}

/* Time passes, tick by tick, as the worker's clock does it. */
static inline void pass_ms(uint64_t ms)
{
    for (uint64_t end = clock_ms + ms; clock_ms < end;) {
        clock_ms += end - clock_ms < WHEEL_TICK_MS ? end - clock_ms : WHEEL_TICK_MS;
        tick();
    }
}

static inline void send_text(const char *text, enum msg_kind kind, int level)
{
    struct msg *msg = msg_new(slice_of(text), kind, level);

    assert_non_null(conn);
    assert_int_equal(conn_send(conn, msg), OK);
    msg_unref(msg);
}

static inline enum err send_bulk(size_t len, enum msg_kind kind, int level)
{
    struct msg *msg = msg_make(len, kind, level);
    enum err err;

    assert_non_null(conn);
    memset(msg->data, 'x', len);
    err = conn_send(conn, msg);
    msg_unref(msg);
    return err;
}

#endif
