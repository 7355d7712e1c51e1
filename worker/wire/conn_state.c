/*
 * The state of a connection and its one timer: every change of either goes through this file.
 */
#include "worker/wire/conn_parts.h"

void conn_enter_state(struct conn *conn, enum conn_state state)
{
    bool was_open = conn->state == CONN_OPEN;

    conn->state = (uint8_t)state;
    if (was_open) {
        conn->ignored = conn->tls ? tls_taken(conn->tls) : 0;
        conn->host->calls->closing(conn);
    }
}

void conn_die(struct conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    conn_enter_state(conn, CONN_DEAD);
    loop_unwatch(&conn->watch);
    wheel_cancel(&conn->timer);
    stream_close(conn->fd, conn->tls);
    conn->tls = NULL;
    conn->next_dead = conn->host->dead;
    conn->host->dead = conn;
}

void conn_abort(struct conn *conn)
{
    conn_die(conn);
}

void conn_abort_no_memory(struct conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    conn_tally(conn->host, STAT_out_of_memory, 1);
    conn_die(conn);
}

void conn_mark_rested(struct conn *conn)
{
    loop_again(conn->host->loop);
    if (conn->is_dirty)
        return;
    conn->is_dirty = true;
    conn->next_dirty = conn->host->dirty;
    conn->host->dirty = conn;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_due(const struct conn *conn)
{
    const struct conn_host *host = conn->host;
    uint64_t due = conn->deadline_ms;

    if (conn->state != CONN_OPEN)
        return conn->close_at_ms;
    if (conn->ending)
        due = min64(due, conn->close_at_ms);
    /* While nothing is read, no pong can be seen, and only progress counts. */
    if (!conn_not_reading(conn))
        due = min64(due, conn->last_in_ms + host->ping_ms + (conn->ping_sent ? host->pong_ms : 0));
    if (conn->outbox.bytes)
        due = min64(due, min64(conn->progress_ms + host->slow_ms,
                               conn->measured_ms + host->slow_ms / CONN_MEASURES));
    return due;
}

/* A deadline that has moved later is recomputed when the node comes due; only an earlier deadline
 * must move the node now. */
void conn_set_timer(struct conn *conn)
{
    uint64_t due = next_due(conn);

    if (conn->state == CONN_DEAD)
        return;
    if (!conn->timer.at || due < conn->timer.due_ms)
        wheel_set(&conn->host->wheel, &conn->timer, due);
}

void conn_set_deadline(struct conn *conn, uint64_t at_ms)
{
    conn->deadline_ms = at_ms;
    conn_set_timer(conn);
}

void conn_set_patience(struct conn *conn, uint64_t at_ms)
{
    conn->close_at_ms = at_ms;
    conn_set_timer(conn);
}
