/*
 * The end of a connection: the close handshake (RFC 6455 7.1), and the wait for the peer's end of
 * file.
 */
#include "worker/wire/conn_parts.h"

/* Drops waiting frames by clear, and counts the mail among them, because nothing is dropped in
 * silence. */
static void drop_waiting(struct conn *conn, void (*clear)(struct outbox *))
{
    uint64_t mail_count = conn->outbox.mail_count;

    clear(&conn->outbox);
    conn_tally(conn->host, STAT_mail_undelivered, mail_count - conn->outbox.mail_count);
}

static void send_close(struct conn *conn, uint16_t code, struct slice reason)
{
    uint8_t frame[2 + WS_CONTROL_MAX];
    size_t len = code == WS_CLOSE_NO_STATUS ? 2 : ws_encode_close(frame, code, reason);

    conn_send_control(conn, WS_CLOSE, slice_make(frame + 2, len - 2));
}

void conn_close(struct conn *conn, uint16_t code, struct slice reason)
{
    if (conn->state != CONN_OPEN)
        return;
    conn_enter_state(conn, CONN_CLOSING);
    /* Or the peer's close frame would never be read. */
    conn->read_paused = conn->held = conn->ending = false;
    send_close(conn, code, reason);
    conn_rewatch(conn);
    conn_set_patience(conn, loop_now_ms(conn->host->loop) + conn->host->close_ms);
}

void conn_close_now(struct conn *conn, uint16_t code, struct slice reason)
{
    if (conn->state != CONN_OPEN)
        return;
    drop_waiting(conn, outbox_clear);
    conn_close(conn, code, reason);
}

/* Ignores further input. When the close frame has left, this side of the connection is shut down,
 * and the peer's end of file is awaited, so that no reset overtakes the close frame. */
static void linger_conn(struct conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    conn_enter_state(conn, CONN_LINGERING);
    conn->end_after_flush = true;
    conn->read_paused = conn->held = conn->ending = conn->rested = false;
    conn_leftover_drop(conn);
    conn_mark_dirty(conn);
    conn_set_patience(conn, loop_now_ms(conn->host->loop) + CONN_LINGER_MS);
}

void conn_on_peer_close(struct conn *conn, const struct ws_event *event)
{
    if (conn->state == CONN_OPEN) {
        /* A peer that has closed reads no more messages. Answers to what the peer sent before its
         * close leave first: the close frame says that everything before has been handled. */
        drop_waiting(conn, outbox_clear_messages);
        send_close(conn, event->close_code, SLICE(""));
    }
    linger_conn(conn);
}

/* The answers have been given, or have taken too long. A peer that broke the protocol is failed
 * (RFC 6455 7.1.7): the close frame leaves behind what waits, and further input is ignored. */
void conn_end(struct conn *conn)
{
    struct slice reason = slice_of(conn->end_reason);

    conn->ending = false;
    if (conn->broken) {
        send_close(conn, conn->end_code, reason);
        linger_conn(conn);
        return;
    }
    if (conn->host->calls->last_word)
        conn->host->calls->last_word(conn, conn->end_code, reason);
    conn_close(conn, conn->end_code, reason);
}

/* Reads nothing more, and ends the connection once the owner owes no answer. */
static void begin_end(struct conn *conn, uint16_t code, const char *reason, bool broken)
{
    const struct conn_calls *calls = conn->host->calls;

    conn->ending = true;
    conn->broken = broken;
    conn->end_code = code;
    conn->end_reason = reason;
    if (!calls->owes_answers || !calls->owes_answers(conn)) {
        conn_end(conn);
        return;
    }
    conn_rewatch(conn);
    conn_set_patience(conn, loop_now_ms(conn->host->loop) + conn->host->close_ms);
}

void conn_close_answered(struct conn *conn, uint16_t code, const char *reason)
{
    if (conn->state == CONN_OPEN && !conn->ending)
        begin_end(conn, code, reason, false);
}

void conn_answered(struct conn *conn)
{
    if (conn->state == CONN_OPEN && conn->ending)
        conn_end(conn);
}

/* Good messages may have come directly before the fault: their answers leave first. */
void conn_on_broken(struct conn *conn, const struct ws_event *event)
{
    conn_tally(conn->host, STAT_protocol_errors, 1);
    if (conn->state == CONN_OPEN)
        begin_end(conn, event->close_code, event->reason, true);
    else
        linger_conn(conn);
}
