/*
 * Is the peer alive, and does it read? Pings after silence, and the progress of a peer for which
 * something waits, measured by what its kernel has taken.
 */
#include "worker/wire/conn_parts.h"

#include <linux/sockios.h>
#include <stddef.h>
#include <sys/ioctl.h>

/* How many of the bytes that have left the peer's kernel has taken. A slow reader's mail can lie in
 * this host's kernel for minutes, where only the acknowledgements show that the reader lives. */
static uint64_t measure_taken(const struct conn *conn)
{
    int waiting = 0; /* unsent, or sent and not acknowledged */

    if (ioctl(conn->fd, SIOCOUTQ, &waiting) != 0 || waiting < 0)
        waiting = 0;
    if (conn->tls)
        waiting += (int)tls_unsent(conn->tls);
    return (uint64_t)waiting < conn->left_bytes ? conn->left_bytes - (uint64_t)waiting : 0;
}

/* Notes the progress of the peer since the last measurement. Of a ping, only the bytes that left
 * before the ping show life: the kernel of a peer that hangs takes the ping too. */
static void note_progress(struct conn *conn, uint64_t now_ms)
{
    uint64_t before = conn->taken_bytes, taken = measure_taken(conn);

    conn->measured_ms = now_ms;
    if (taken <= before)
        return;
    conn->taken_bytes = taken;
    conn->progress_ms = now_ms;
    if (conn->ping_sent && before < conn->ping_at)
        conn->last_in_ms = now_ms - conn->host->ping_ms; /* pong_ms runs from now */
}

static void send_ping(struct conn *conn, uint64_t now_ms)
{
    conn->last_in_ms =
        now_ms - conn->host->ping_ms; /* pong_ms runs from now, however late the timer was */
    conn->taken_bytes = measure_taken(conn);
    conn->ping_at = conn->left_bytes + conn->outbox.bytes;
    conn->ping_sent = true;
    conn_tally(conn->host, STAT_pings_sent, 1);
    conn_send_control(conn, WS_PING, SLICE(""));
}

static void close_silent(struct conn *conn, enum conn_silence silence)
{
    bool no_pong = silence == CONN_NO_PONG;

    conn->silence = (uint8_t)silence;
    if (no_pong) {
        conn_tally(conn->host, STAT_peers_dead, 1);
        conn_close_now(conn, WS_CLOSE_GOING_AWAY, SLICE("no answer to a ping"));
        conn_set_patience(conn, loop_now_ms(conn->host->loop) + CONN_LINGER_MS);
    } else {
        conn_tally(conn->host, STAT_peers_stuck, 1);
        conn_tally(conn->host, STAT_slow_closed, 1);
        conn_close_now(conn, WS_CLOSE_TOO_SLOW, SLICE("too slow"));
    }
}

static bool is_stuck(const struct conn *conn, uint64_t now_ms)
{
    return conn->outbox.bytes && now_ms >= conn->progress_ms + conn->host->slow_ms;
}

static bool misses_pong(const struct conn *conn, uint64_t now_ms)
{
    const struct conn_host *host = conn->host;

    return conn->ping_sent && now_ms >= conn->last_in_ms + host->ping_ms + host->pong_ms;
}

static void check_open(struct conn *conn, uint64_t now_ms)
{
    const struct conn_host *host = conn->host;

    if ((conn->outbox.bytes && now_ms >= conn->measured_ms + host->slow_ms / CONN_MEASURES) ||
        misses_pong(conn, now_ms))
        note_progress(conn, now_ms);
    if (is_stuck(conn, now_ms))
        close_silent(conn, CONN_NO_PROGRESS);
    else if (conn_not_reading(conn))
        return;
    else if (misses_pong(conn, now_ms))
        close_silent(conn, CONN_NO_PONG);
    else if (!conn->ping_sent && now_ms >= conn->last_in_ms + host->ping_ms)
        send_ping(conn, now_ms);
}

void conn_on_due(struct wheel_node *node, uint64_t now_ms)
{
    struct conn *conn = (struct conn *)((char *)node - offsetof(struct conn, timer));

    if (conn->state != CONN_OPEN && now_ms >= conn->close_at_ms) {
        if (!conn->broken || conn->outbox.bytes == 0) {
            conn_die(conn);
            return;
        }
        conn->broken = false; /* once: the answers before the fault have not all left yet */
        conn->close_at_ms = now_ms + conn->host->close_ms;
    }
    if (conn->state == CONN_OPEN && conn->ending && now_ms >= conn->close_at_ms)
        conn_end(conn);
    if (conn->state == CONN_OPEN && now_ms >= conn->deadline_ms) {
        conn->deadline_ms = UINT64_MAX;
        conn->host->calls->deadline(conn);
    }
    if (conn->state == CONN_OPEN)
        check_open(conn, now_ms);
    conn_set_timer(conn);
}
