/*
 * What the files of a connection share; no other file includes this header.
 *
 * The files stand in layers, and calls go down alone: conn.c (events, turns) above conn_read.c
 * (bytes in) and conn_pulse.c (is the peer alive?), both above conn_close.c (the close handshake),
 * then conn_send.c (frames out), then conn_state.c (state and timer).
 */
#ifndef WORKER_CONN_PARTS_H
#define WORKER_CONN_PARTS_H

#include "worker/wire/conn.h"
#include "worker/wire/stream.h"

#include <stdlib.h>

enum {
    CONN_LINGER_MS = 2000, /* time for the peer's end of file after both close frames */
    CONN_MEASURES = 8,     /* times in slow_ms that the progress of a slow reader is measured */
    /* Bytes that may come behind this side's close frame, beside a message that has begun: what two
     * kernels hold of a client that sends as fast as it can, before the client sees the close. */
    CONN_IGNORED_BYTES = 16 << 20,
};

/* ---- conn_state.c ---- */

/* Every change of state goes through conn_enter_state, so that `closing` is called exactly once. */
void conn_enter_state(struct conn *conn, enum conn_state state);
/* Closes the socket; the memory stays until the end of the turn. */
void conn_die(struct conn *conn);
/* Sees to it that conn_on_due is called in time. */
void conn_set_timer(struct conn *conn);
/* Marks the connection for the next turn, even when its socket takes nothing now. */
void conn_mark_rested(struct conn *conn);

/* ---- conn_send.c ---- */

/* Queues a control frame; without memory the connection is aborted. */
void conn_send_control(struct conn *conn, enum ws_opcode opcode, struct slice payload);
/* Writes what the socket takes. */
void conn_flush(struct conn *conn);

/* ---- conn_close.c ---- */

/* The peer's close frame has come. */
void conn_on_peer_close(struct conn *conn, const struct ws_event *event);
/* The peer has broken the protocol. */
void conn_on_broken(struct conn *conn, const struct ws_event *event);
/* `ending`: the answers have been given, or have taken too long. */
void conn_end(struct conn *conn);

/* ---- conn_read.c ---- */

/* The socket has bytes, or an end. */
void conn_on_readable(struct conn *conn);
/* The end of a turn, for a connection that rests. */
void conn_read_rested(struct conn *conn);
/* The end of a turn, for a connection with `unread`. */
void conn_read_again(struct conn *conn);

/* ---- conn_pulse.c ---- */

/* The connection's one timer has come due. */
void conn_on_due(struct wheel_node *node, uint64_t now_ms);

/* ---- small steps ---- */

/* echo-test has no shared memory to count in. */
static inline void conn_tally(const struct conn_host *host, enum stat_id stat, uint64_t n)
{
    if (host->stats)
        stats_add(host->stats, stat, n);
}

/* Marks the connection for a flush at the end of the turn. A connection whose socket is full is
 * flushed when the socket has room. */
static inline void conn_mark_dirty(struct conn *conn)
{
    if (conn->is_dirty || conn->write_wanted)
        return;
    conn->is_dirty = true;
    conn->next_dirty = conn->host->dirty;
    conn->host->dirty = conn;
}

static inline bool conn_not_reading(const struct conn *conn)
{
    return conn->read_paused || conn->held || conn->ending || conn->rested;
}

/* Watches the socket for reading unless reading is paused, and for writing when the socket was
 * full. */
static inline void conn_rewatch(struct conn *conn)
{
    unsigned events =
        (conn_not_reading(conn) ? 0u : LOOP_READ) | (conn->write_wanted ? LOOP_WRITE : 0u);

    if (conn->state != CONN_DEAD && loop_rewatch(conn->host->loop, &conn->watch, events))
        conn_die(conn);
}

static inline void conn_leftover_drop(struct conn *conn)
{
    free(conn->leftover);
    conn->leftover = NULL;
    conn->leftover_len = 0;
}

static inline void conn_message_drop(struct conn *conn)
{
    free(conn->message);
    conn->message = NULL;
    conn->message_len = conn->message_size = 0;
}

#endif
