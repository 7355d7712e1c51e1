/*
 * Bytes of the peer: read into the one buffer of the worker, decoded there in place, and given to
 * the owner as whole messages. Only the rest of an unfinished frame or message is kept.
 */
#include "worker/wire/conn_parts.h"

#include "common/grow.h"
#include "common/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    READ_SIZE = 64 * 1024,
    INFLATE_SHARE =
        512 * 1024, /* bytes that a connection's inflater may take and give in one turn */
};

/* One buffer for all connections: a worker is one thread, and no callback keeps a pointer into the
 * buffer. */
static uint8_t read_buffer[WS_LEFTOVER_MAX + READ_SIZE];

static enum err message_keep(struct conn *conn, struct slice piece)
{
    uint64_t len = (uint64_t)conn->message_len + piece.len;
    /* A reload may have lowered the limit since the message began. */
    uint64_t len_max = len > conn->host->message_bytes_max ? len : conn->host->message_bytes_max;

    /* A frame's announced length is not believed before its bytes come. */
    if (grow_reserve(&conn->message, &conn->message_size, len, 4096, len_max))
        return ERR_NOMEM;
    memcpy(conn->message + conn->message_len, piece.data, piece.len);
    conn->message_len = (uint32_t)len;
    return OK;
}

/* A compressed message is inflated when its last byte has come, and not before: until then the
 * message costs no more memory than its sender has sent. */
static void take_compressed(struct conn *conn, enum ws_opcode opcode, struct slice packed)
{
    struct conn_host *host = conn->host;
    struct slice text;
    enum err err = deflate_unpack(conn->deflate, packed, conn->decoder.message_max, &text);
    struct ws_event broken = { .close_code = WS_CLOSE_BAD_DATA, .reason = "bad compressed data" };

    if (err == ERR_FULL) {
        conn_tally(host, STAT_deflate_too_large, 1);
        broken = (struct ws_event){ .close_code = WS_CLOSE_TOO_BIG, .reason = "message too large" };
    } else if (err == ERR_BAD) {
        conn_tally(host, STAT_deflate_bad, 1);
    } else if (!err && opcode == WS_TEXT && !utf8_valid(text)) {
        err = ERR_BAD;
        broken.reason = "text not UTF-8";
    }
    if (err == ERR_NOMEM) {
        conn_tally(host, STAT_out_of_memory, 1);
        conn_close_now(conn, WS_CLOSE_INTERNAL, SLICE("out of memory"));
    } else if (err) {
        conn_on_broken(conn, &broken);
    } else {
        conn_tally(host, STAT_deflate_in, 1);
        conn_tally(host, STAT_deflate_in_bytes, packed.len);
        conn_tally(host, STAT_deflate_in_plain, text.len);
        if (host->calls->inflated)
            host->calls->inflated(conn, text.len);
        host->calls->message(conn, opcode, text);
    }
    deflate_unpacked(&host->deflate);
}

static inline void take_message(struct conn *conn, const struct ws_event *event, struct slice whole)
{
    if (event->compressed)
        take_compressed(conn, (enum ws_opcode)event->opcode, whole);
    else
        conn->host->calls->message(conn, (enum ws_opcode)event->opcode, whole);
}

static void on_data(struct conn *conn, const struct ws_event *event)
{
    if (conn->state != CONN_OPEN)
        return;
    if (event->begin && event->end) {
        take_message(conn, event, event->payload);
        return;
    }
    if (message_keep(conn, event->payload)) {
        conn_tally(conn->host, STAT_out_of_memory, 1);
        conn_close_now(conn, WS_CLOSE_INTERNAL, SLICE("out of memory"));
        conn_message_drop(conn);
        return;
    }
    if (!event->end)
        return;
    take_message(conn, event,
                 slice_make(conn->message ? (char *)conn->message : "", conn->message_len));
    conn_message_drop(conn);
}

static void on_ws_event(struct conn *conn, const struct ws_event *event)
{
    switch (event->type) {
    case WS_EVENT_DATA:
        on_data(conn, event);
        break;
    case WS_EVENT_PING:
        if (conn->state == CONN_OPEN)
            conn_send_control(conn, WS_PONG, event->payload);
        break;
    case WS_EVENT_CLOSE:
        conn_on_peer_close(conn, event);
        break;
    case WS_EVENT_ERROR:
        conn_on_broken(conn, event);
        break;
    case WS_EVENT_PONG:
    case WS_EVENT_MORE:
        break;
    }
}

static void leftover_keep(struct conn *conn, const uint8_t *data, size_t len)
{
    if (len == 0)
        return;
    assert(len <= WS_LEFTOVER_MAX || (conn->rested && len <= sizeof read_buffer));
    conn->leftover = malloc(len);
    if (!conn->leftover) {
        conn_abort_no_memory(conn);
        return;
    }
    memcpy(conn->leftover, data, len);
    conn->leftover_len = (uint32_t)len;
}

static size_t leftover_take(struct conn *conn, uint8_t *to)
{
    size_t len = conn->leftover_len;

    if (len) {
        memcpy(to, conn->leftover, len);
        conn_leftover_drop(conn);
    }
    return len;
}

/* A few compressed bytes can stand for very much text: what has been read and not decoded waits,
 * so that other connections have their turn. */
static void rest_conn(struct conn *conn, const uint8_t *data, size_t len)
{
    conn->rested = conn->rested_now = true;
    leftover_keep(conn, data, len);
    if (conn->state == CONN_DEAD)
        return;
    conn_mark_rested(conn);
    conn_rewatch(conn);
}

static void decode_bytes(struct conn *conn, uint8_t *data, size_t len)
{
    uint64_t work = conn->deflate ? conn->host->deflate.work : 0;
    size_t at = 0;

    conn->last_in_ms = loop_now_ms(conn->host->loop);
    conn->ping_sent = false;
    if (ws_decoder_idle(&conn->decoder)) /* a reload may have changed the limit; a begun message
                                            keeps the old limit */
        conn->decoder.message_max = conn->host->message_bytes_max;
    while (at < len && !conn->ending && (conn->state == CONN_OPEN || conn->state == CONN_CLOSING)) {
        struct ws_event event;
        at += ws_decode(&conn->decoder, data + at, len - at, &event);
        if (event.type == WS_EVENT_MORE) {
            leftover_keep(conn, data + at, len - at);
            break;
        }
        on_ws_event(conn, &event);
        if (conn->deflate && conn->host->deflate.work - work >= INFLATE_SHARE && at < len &&
            !conn->ending) {
            rest_conn(conn, data + at, len - at);
            break;
        }
    }
    /* The peer does not read the answers that it causes: read no more from the peer until half of
     * them have left. */
    if (conn->state == CONN_OPEN && conn->outbox.answer_bytes > conn->host->answer_bytes_max) {
        conn->read_paused = true;
        conn_rewatch(conn); /* at once: a connection that waits for its socket is not flushed at the
                               end of the turn */
    }
}

void conn_feed(struct conn *conn, struct slice bytes)
{
    const char *data = bytes.data;

    if (conn->held && bytes.len && conn->state == CONN_OPEN) {
        rest_conn(conn, (const uint8_t *)data, bytes.len);
        return;
    }
    for (size_t left = bytes.len, n; left && conn->state == CONN_OPEN && !conn->ending;
         left -= n, data += n) {
        size_t kept;
        conn->rested = false;
        kept = leftover_take(conn, read_buffer);
        n = left < READ_SIZE ? left : READ_SIZE;
        memcpy(read_buffer + kept, data, n);
        decode_bytes(conn, read_buffer, kept + n);
    }
}

/* The end of a turn, for a connection that rests: goes on unless the rest began in this turn. An
 * owner that holds the connection, or answers that wait, come first: conn_release and the flush of
 * the answers mark the connection again. */
void conn_read_rested(struct conn *conn)
{
    size_t kept;

    if (conn->read_paused || conn->held || conn->ending || conn->state == CONN_DEAD)
        return;
    if (conn->rested_now) {
        conn->rested_now = false;
        conn_mark_rested(conn);
        return;
    }
    conn->rested = false;
    loop_again(conn->host->loop); /* the owner's questions to Redis leave with the next turn */
    kept = leftover_take(conn, read_buffer);
    conn_rewatch(conn);
    decode_bytes(conn, read_buffer, kept);
    conn->rested_now = false;
}

/* TLS has read ahead of the socket, which then has nothing to announce: the end of the turn sees to
 * the rest. */
static void note_unread(struct conn *conn, ssize_t n)
{
    conn->unread = n == READ_SIZE && tls_unread(conn->tls);
    if (conn->unread || tls_unsent(conn->tls)) /* TLS has answered by itself */
        conn_mark_rested(conn);
}

/* A connection that closes is read for the peer's close frame, or for its end of file. A peer that
 * sends on without end would be read at full speed until the time is over, so past a bound the
 * connection is cut. */
static bool ignores_too_much(struct conn *conn, ssize_t n)
{
    uint64_t bytes; /* TLS: as they came, so that records without data count */

    if (conn->tls)
        bytes = tls_taken(conn->tls) - conn->ignored;
    else
        bytes = conn->ignored += n > 0 ? (uint64_t)n : 0;
    if (bytes <= conn->host->message_bytes_max + CONN_IGNORED_BYTES)
        return false;
    conn_tally(conn->host, STAT_cut_after_close, 1);
    conn_die(conn);
    return true;
}

void conn_on_readable(struct conn *conn)
{
    size_t kept = leftover_take(conn, read_buffer);
    ssize_t n = stream_read(conn->fd, conn->tls, read_buffer + kept, READ_SIZE);

    if (conn->tls)
        note_unread(conn, n);
    if (conn->state != CONN_OPEN && ignores_too_much(conn, n))
        return;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        leftover_keep(conn, read_buffer, kept);
        return;
    }
    if (n <= 0) { /* end of file without a close frame, or a reset: the peer is gone either way */
        conn_die(conn);
        return;
    }
    conn_tally(conn->host, STAT_bytes_in, (uint64_t)n);
    if (conn->state != CONN_LINGERING && !conn->ending) /* else input is ignored */
        decode_bytes(conn, read_buffer, kept + (size_t)n);
}

/* Bytes that TLS has read ahead are given to the connection in the next turn. While the connection
 * is not read they wait: conn_release and each flush come back to them. `unread` stays until
 * conn_on_readable has run, because a rewatch forgets the event. */
void conn_read_again(struct conn *conn)
{
    if (conn->state == CONN_DEAD || conn_not_reading(conn))
        return;
    loop_read_again(&conn->watch);
    loop_again(conn->host->loop);
}

void conn_hold(struct conn *conn)
{
    conn->held = true;
    conn_rewatch(conn);
}

void conn_release(struct conn *conn)
{
    if (!conn->held)
        return;
    conn->held = false;
    conn->last_in_ms = loop_now_ms(conn->host->loop); /* this side did not read meanwhile */
    conn_rewatch(conn);
    conn_set_timer(conn);
    if (conn->rested || conn->unread)
        conn_mark_rested(conn);
}
