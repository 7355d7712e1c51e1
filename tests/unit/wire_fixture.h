/*
 * The shared part of the tests of connections: a clock that only the test moves, turns of a real
 * loop, and the client's end of the wire.
 *
 * This file defines the functions of common/clock.h, so the linker does not take common/clock.o
 * from the archive. The code under test reads the test's clock, and an hour passes at once.
 */
#ifndef TESTS_UNIT_WIRE_FIXTURE_H
#define TESTS_UNIT_WIRE_FIXTURE_H

#include "common/buf.h"
#include "common/clock.h"
#include "worker/io/loop.h"
#include "worker/wire/ws.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- time ---- */

#define CLOCK_START_MS UINT64_C(100000000)
#define UNIX_START_S   INT64_C(1790000000) /* 2026-09-21T14:13:20Z */

static uint64_t clock_ms = CLOCK_START_MS;
static uint64_t clock_reads; /* makes every time read differ, by a nanosecond */

uint64_t clock_monotonic_ns(void)
{
    return clock_ms * 1000000 + ++clock_reads;
}

uint64_t clock_monotonic_ms(void)
{
    return clock_ms;
}

int64_t clock_unix_ms(void)
{
    return UNIX_START_S * 1000 + (int64_t)(clock_ms - CLOCK_START_MS);
}

int64_t clock_unix_s(void)
{
    return clock_unix_ms() / 1000;
}

/* ---- the loop ---- */

static struct loop *loop;
static unsigned turns_left;

/* The last hook of every turn. */
static inline void count_turn(void *arg)
{
    (void)arg;
    if (--turns_left == 0)
        loop_stop(loop);
    else
        loop_again(loop);
}

/* Runs `count` turns of the loop; no turn waits for an event. */
static inline void turns(unsigned count)
{
    turns_left = count;
    loop_again(loop);
    loop_run(loop);
}

/* ---- the client ---- */

struct peer {
    int fd;
    struct buf in; /* bytes from the server; the first `at` bytes are read */
    size_t at;
    bool ended; /* end of file, or a reset */
};

/* Returns the server's end, non-blocking. */
static inline int peer_open(struct peer *peer)
{
    int fds[2];

    *peer = (struct peer){ 0 };
    buf_init(&peer->in, 64 << 20);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    peer->fd = fds[1];
    return fds[0];
}

static inline void peer_close(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
    buf_fini(&peer->in);
}

/* Returns the number of bytes that the socket took. */
static inline size_t peer_try_send(struct peer *peer, const void *data, size_t len)
{
    ssize_t n = send(peer->fd, data, len, MSG_NOSIGNAL);

    return n > 0 ? (size_t)n : 0;
}

static inline void peer_send(struct peer *peer, const void *data, size_t len)
{
    assert_int_equal(peer_try_send(peer, data, len), len);
}

/* A masked frame (RFC 6455 5.2), appended; first is FIN and opcode. */
static inline void frame_add(struct buf *out, uint8_t first, const void *payload, size_t len)
{
    static const uint8_t mask[4] = { 0x12, 0x00, 0xff, 0x80 };
    const uint8_t *bytes = payload;

    buf_add_char(out, (char)first);
    if (len < 126) {
        buf_add_char(out, (char)(0x80 | len));
    } else if (len < 65536) {
        buf_add_char(out, (char)(0x80 | 126));
        buf_add_char(out, (char)(len >> 8));
        buf_add_char(out, (char)len);
    } else {
        buf_add_char(out, (char)(0x80 | 127));
        for (int shift = 56; shift >= 0; shift -= 8)
            buf_add_char(out, (char)((uint64_t)len >> shift));
    }
    buf_add(out, mask, 4);
    for (size_t i = 0; i < len; i++)
        buf_add_char(out, (char)(bytes[i] ^ mask[i % 4]));
    assert_false(out->failed);
}

static inline void peer_frame(struct peer *peer, uint8_t first, const void *payload, size_t len)
{
    struct buf frame;

    buf_init(&frame, 64 << 20);
    frame_add(&frame, first, payload, len);
    peer_send(peer, frame.data, frame.len);
    buf_fini(&frame);
}

static inline void peer_text(struct peer *peer, const char *text)
{
    peer_frame(peer, 0x80 | WS_TEXT, text, strlen(text));
}

static inline void peer_read(struct peer *peer)
{
    ssize_t n;

    do {
        assert_int_equal(buf_reserve(&peer->in, 64 * 1024), OK);
        n = recv(peer->fd, peer->in.data + peer->in.len, 64 * 1024, 0);
        if (n > 0)
            peer->in.len += (size_t)n;
    } while (n > 0);
    if (n == 0 || errno != EAGAIN)
        peer->ended = true;
}

/* Reads the next whole frame; returns its opcode, or -1 when none is there. */
static inline int peer_next(struct peer *peer, struct slice *payload)
{
    const uint8_t *head;
    size_t head_len = 2, len;

    peer_read(peer);
    if (peer->in.len - peer->at < 2)
        return -1;
    head = (const uint8_t *)peer->in.data + peer->at;
    len = head[1];
    if (len >= 126)
        head_len = len == 126 ? 4 : 10;
    if (peer->in.len - peer->at < head_len)
        return -1;
    if (head_len > 2) {
        len = 0;
        for (size_t i = 2; i < head_len; i++)
            len = len << 8 | head[i];
    }
    if (peer->in.len - peer->at < head_len + len)
        return -1;
    *payload = slice_make(head + head_len, len);
    peer->at += head_len + len;
    assert_int_equal(head[0] & 0xf0, 0x80); /* a server's frames are final and unmasked */
    return head[0] & 0x0f;
}

static inline void assert_slice(struct slice got, const char *wanted)
{
    if (!slice_equal(got, slice_of(wanted)))
        print_error("got \"%.*s\", wanted \"%s\"\n", (int)got.len, got.data, wanted);
    assert_true(slice_equal(got, slice_of(wanted)));
}

static inline void expect_frame(struct peer *peer, int opcode, const char *payload)
{
    struct slice got = { 0 };

    assert_int_equal(peer_next(peer, &got), opcode);
    assert_slice(got, payload);
}

static inline void expect_nothing(struct peer *peer)
{
    struct slice got;

    assert_int_equal(peer_next(peer, &got), -1);
    assert_false(peer->ended);
}

/* A close frame with this code; 1005: without one. */
static inline void expect_close(struct peer *peer, unsigned code)
{
    struct slice got = { 0 };

    assert_int_equal(peer_next(peer, &got), WS_CLOSE);
    if (code == WS_CLOSE_NO_STATUS) {
        assert_int_equal(got.len, 0);
        return;
    }
    assert_true(got.len >= 2);
    assert_int_equal((uint8_t)got.data[0] << 8 | (uint8_t)got.data[1], code);
}

static inline void peer_send_close(struct peer *peer, unsigned code)
{
    uint8_t payload[2] = { (uint8_t)(code >> 8), (uint8_t)code };

    peer_frame(peer, 0x80 | WS_CLOSE, payload, 2);
}

#endif
