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

static enum stat_id close_stat(uint16_t code)
{
    static const struct {
        uint16_t code;
        enum stat_id stat;
    } closes[] = {
        { WS_CLOSE_NORMAL, STAT_closes_1000 },     { WS_CLOSE_GOING_AWAY, STAT_closes_1001 },
        { WS_CLOSE_PROTOCOL, STAT_closes_1002 },   { WS_CLOSE_UNSUPPORTED, STAT_closes_1003 },
        { WS_CLOSE_BAD_DATA, STAT_closes_1007 },   { WS_CLOSE_POLICY, STAT_closes_1008 },
        { WS_CLOSE_TOO_BIG, STAT_closes_1009 },    { WS_CLOSE_INTERNAL, STAT_closes_1011 },
        { WS_CLOSE_RESTARTING, STAT_closes_1012 }, { WS_CLOSE_OVERLOADED, STAT_closes_1013 },
        { WS_CLOSE_DRAINING, STAT_closes_4000 },   { WS_CLOSE_TOKEN_EXPIRED, STAT_closes_4001 },
        { WS_CLOSE_TOO_SLOW, STAT_closes_4002 },   { WS_CLOSE_BAD_REQUEST, STAT_closes_4400 },
        { WS_CLOSE_NO_TOKEN, STAT_closes_4401 },   { WS_CLOSE_FORBIDDEN, STAT_closes_4403 },
        { WS_CLOSE_NOT_FOUND, STAT_closes_4404 },  { WS_CLOSE_REPLACED, STAT_closes_4500 },
        { WS_CLOSE_REVOKED, STAT_closes_4501 },    { WS_CLOSE_ADMIN, STAT_closes_4502 },
        { WS_CLOSE_ERRORS, STAT_closes_4503 },
    };

    for (size_t i = 0; i < sizeof closes / sizeof closes[0]; i++)
        if (closes[i].code == code)
            return closes[i].stat;
    return STAT_closes_other;
}

void conn_count_close(struct stats_row *stats, uint16_t code)
{
    if (stats) /* echo-test has no shared memory to count in */
        stats_add(stats, close_stat(code), 1);
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
    conn_count_close(conn->host->stats, code);
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
        conn_tally(conn->host, STAT_closes_peer, 1);
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
        conn_count_close(conn->host->stats, conn->end_code);
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
