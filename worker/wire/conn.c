#include "worker/wire/conn.h"

#include "common/grow.h"
#include "worker/wire/deflate_form.h"
#include "worker/wire/stream.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum {
    READ_SIZE = 64 * 1024,
    INFLATE_SHARE =
        512 * 1024,   /* bytes that a connection's inflater may take and give in one turn */
    LINGER_MS = 2000, /* time for the peer's end of file after both close frames */
    MEASURES = 8,     /* times in slow_ms that the progress of a slow reader is measured */
};

/* One buffer for all connections: a worker is one thread, and no callback keeps a pointer into the
 * buffer. */
static uint8_t read_buffer[WS_LEFTOVER_MAX + READ_SIZE];

static void on_conn_event(void *arg, int fd, unsigned events);

/* echo-test has no shared memory to count in. */
static void tally_stat(const struct conn_host *host, enum stat_id stat, uint64_t n)
{
    if (host->stats)
        stats_add(host->stats, stat, n);
}

/* Marks the connection for a flush at the end of the turn. A connection whose socket is full is
 * flushed when the socket has room. */
static void mark_dirty(struct conn *conn)
{
    if (conn->is_dirty || conn->write_wanted)
        return;
    conn->is_dirty = true;
    conn->next_dirty = conn->host->dirty;
    conn->host->dirty = conn;
}

/* Every change of state goes through enter_state, so that `closing` is called exactly once. */
static void enter_state(struct conn *conn, enum conn_state state)
{
    bool was_open = conn->state == CONN_OPEN;

    conn->state = (uint8_t)state;
    if (was_open)
        conn->host->calls->closing(conn);
}

static void conn_die(struct conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    enter_state(conn, CONN_DEAD);
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
    tally_stat(conn->host, STAT_out_of_memory, 1);
    conn_die(conn);
}

static bool not_reading(const struct conn *conn)
{
    return conn->read_paused || conn->held || conn->ending || conn->rested;
}

/* Watches the socket for reading unless reading is paused, and for writing when the socket was
 * full. */
static void rewatch_conn(struct conn *conn)
{
    unsigned events = (not_reading(conn) ? 0u : LOOP_READ) | (conn->write_wanted ? LOOP_WRITE : 0u);

    if (conn->state != CONN_DEAD && loop_rewatch(conn->host->loop, &conn->watch, events))
        conn_die(conn);
}

/* ---- time ---- */

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

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

static uint64_t next_due(const struct conn *conn)
{
    const struct conn_host *host = conn->host;
    uint64_t due = conn->deadline_ms;

    if (conn->state != CONN_OPEN)
        return conn->close_at_ms;
    if (conn->ending)
        due = min64(due, conn->close_at_ms);
    /* While nothing is read, no pong can be seen, and only progress counts. */
    if (!not_reading(conn))
        due = min64(due, conn->last_in_ms + host->ping_ms + (conn->ping_sent ? host->pong_ms : 0));
    if (conn->outbox.bytes)
        due = min64(due, min64(conn->progress_ms + host->slow_ms,
                               conn->measured_ms + host->slow_ms / MEASURES));
    return due;
}

/* A deadline that has moved later is recomputed when the node comes due; only an earlier deadline
 * must move the node now. */
static void set_timer(struct conn *conn)
{
    uint64_t due = next_due(conn);

    if (conn->state == CONN_DEAD)
        return;
    if (!conn->timer.at || due < conn->timer.due_ms)
        wheel_set(&conn->host->wheel, &conn->timer, due);
}

/* Every frame enters the outbox by queue_msg or queue_answer. */
static enum err queue_msg(struct conn *conn, struct msg *msg, struct outbox_position position)
{
    if (conn->outbox.bytes == 0) /* nothing waited until now */
        conn->progress_ms = conn->measured_ms = loop_now_ms(conn->host->loop);
    mark_dirty(conn);
    return outbox_put_at(&conn->outbox, msg, position);
}

static inline enum err queue_answer(struct conn *conn, uint8_t opcode, struct slice payload)
{
    if (conn->outbox.bytes == 0)
        conn->progress_ms = conn->measured_ms = loop_now_ms(conn->host->loop);
    mark_dirty(conn);
    return outbox_answer(&conn->outbox, opcode, payload);
}

/* ---- compression of what leaves ---- */

static void tally_packed(const struct conn *conn, enum deflate_made made, uint64_t plain_len,
                         uint64_t packed_len)
{
    if (made == DEFLATE_NO_MEMORY)
        tally_stat(conn->host, STAT_deflate_no_memory, 1);
    if (made == DEFLATE_NO_GAIN)
        tally_stat(conn->host, STAT_deflate_no_gain, 1);
    if (made != DEFLATE_USED && made != DEFLATE_PACKED)
        return;
    tally_stat(conn->host, STAT_deflate_runs, made == DEFLATE_PACKED);
    tally_stat(conn->host, STAT_deflate_out, 1);
    tally_stat(conn->host, STAT_deflate_out_plain, plain_len);
    tally_stat(conn->host, STAT_deflate_out_bytes, packed_len);
}

/* Returns what is queued in place of msg. stored: a position takes the place of the first byte. */
static struct msg *form_to_queue(struct conn *conn, struct msg *msg, bool stored)
{
    enum deflate_made made;
    struct msg *form;

    if (!conn->deflate || !deflate_is_worth(conn->deflate, msg->len))
        return msg;
    if (deflate_leaves_in_order(conn->deflate, msg->len)) {
        if (msg->kind == MSG_ANSWER)
            msg->form = MSG_FORM_LATE;
        return msg;
    }
    form = deflate_form(conn->deflate, msg, stored, &made);
    tally_packed(conn, made, msg->len, form->len);
    return form;
}

/* For outbox_sent.pack, with takeover. */
static struct msg *pack_in_order(void *arg, struct msg *msg, struct slice head)
{
    struct conn *conn = arg;
    enum deflate_made made;
    struct msg *form = deflate_form_in_order(conn->deflate, msg, head, &made);

    tally_packed(conn, made, head.len + msg->len - (head.len > 0), form ? form->len : 0);
    return form;
}

static enum err queue_late_answer(struct conn *conn, uint8_t opcode, struct slice payload)
{
    struct msg *msg = msg_new(payload, MSG_ANSWER, 0);
    enum err err;

    if (!msg)
        return ERR_NOMEM;
    msg->opcode = opcode;
    msg->form = MSG_FORM_LATE;
    err = queue_msg(conn, msg, (struct outbox_position){ 0 });
    msg_unref(msg);
    return err;
}

/* Not inlined: the answer that leaves as it is must stay cheap. */
static __attribute__((noinline)) enum err queue_packed_answer(struct conn *conn, uint8_t opcode,
                                                              struct slice payload)
{
    struct slice packed;
    enum err err;

    if (deflate_leaves_in_order(conn->deflate, payload.len))
        return queue_late_answer(conn, opcode, payload);
    err = deflate_pack(conn->deflate, payload, &packed);
    tally_packed(conn,
                 !err              ? DEFLATE_PACKED
                 : err == ERR_FULL ? DEFLATE_NO_GAIN
                                   : DEFLATE_NO_MEMORY,
                 payload.len, err ? 0 : packed.len);
    return err ? queue_answer(conn, opcode, payload)
               : queue_answer(conn, opcode | WS_COMPRESSED, packed);
}

/* ---- frames of the protocol itself ---- */

static void send_control(struct conn *conn, enum ws_opcode opcode, struct slice payload)
{
    struct msg *msg = msg_new(payload, opcode == WS_CLOSE ? MSG_LAST : MSG_ANSWER, 0);

    if (!msg) {
        conn_abort_no_memory(conn);
        return;
    }
    msg->opcode = (uint8_t)opcode;
    if (queue_msg(conn, msg, (struct outbox_position){ 0 }))
        conn_abort_no_memory(conn);
    msg_unref(msg);
}

static void send_ping(struct conn *conn, uint64_t now_ms)
{
    conn->last_in_ms =
        now_ms - conn->host->ping_ms; /* pong_ms runs from now, however late the timer was */
    conn->taken_bytes = measure_taken(conn);
    conn->ping_at = conn->left_bytes + conn->outbox.bytes;
    conn->ping_sent = true;
    tally_stat(conn->host, STAT_pings_sent, 1);
    send_control(conn, WS_PING, SLICE(""));
}

static void close_silent(struct conn *conn, enum conn_silence silence)
{
    bool no_pong = silence == CONN_NO_PONG;

    conn->silence = (uint8_t)silence;
    if (no_pong) {
        tally_stat(conn->host, STAT_peers_dead, 1);
        conn_close_now(conn, WS_CLOSE_GOING_AWAY, SLICE("no answer to a ping"));
        conn_set_patience(conn, loop_now_ms(conn->host->loop) + LINGER_MS);
    } else {
        tally_stat(conn->host, STAT_peers_stuck, 1);
        tally_stat(conn->host, STAT_slow_closed, 1);
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

    if ((conn->outbox.bytes && now_ms >= conn->measured_ms + host->slow_ms / MEASURES) ||
        misses_pong(conn, now_ms))
        note_progress(conn, now_ms);
    if (is_stuck(conn, now_ms))
        close_silent(conn, CONN_NO_PROGRESS);
    else if (not_reading(conn))
        return;
    else if (misses_pong(conn, now_ms))
        close_silent(conn, CONN_NO_PONG);
    else if (!conn->ping_sent && now_ms >= conn->last_in_ms + host->ping_ms)
        send_ping(conn, now_ms);
}

static void end_conn(struct conn *conn);

static void on_conn_due(struct wheel_node *node, uint64_t now_ms)
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
        end_conn(conn);
    if (conn->state == CONN_OPEN && now_ms >= conn->deadline_ms) {
        conn->deadline_ms = UINT64_MAX;
        conn->host->calls->deadline(conn);
    }
    if (conn->state == CONN_OPEN)
        check_open(conn, now_ms);
    set_timer(conn);
}

void conn_set_deadline(struct conn *conn, uint64_t at_ms)
{
    conn->deadline_ms = at_ms;
    set_timer(conn);
}

void conn_set_patience(struct conn *conn, uint64_t at_ms)
{
    conn->close_at_ms = at_ms;
    set_timer(conn);
}

static void leftover_drop(struct conn *conn)
{
    free(conn->leftover);
    conn->leftover = NULL;
    conn->leftover_len = 0;
}

/* ---- closing ---- */

/* Drops waiting frames by clear, and counts the mail among them, because nothing is dropped in
 * silence. */
static void drop_waiting(struct conn *conn, void (*clear)(struct outbox *))
{
    uint64_t mail_count = conn->outbox.mail_count;

    clear(&conn->outbox);
    tally_stat(conn->host, STAT_mail_undelivered, mail_count - conn->outbox.mail_count);
}

static void send_close(struct conn *conn, uint16_t code, struct slice reason)
{
    uint8_t frame[2 + WS_CONTROL_MAX];
    size_t len = code == WS_CLOSE_NO_STATUS ? 2 : ws_encode_close(frame, code, reason);

    send_control(conn, WS_CLOSE, slice_make(frame + 2, len - 2));
}

void conn_close(struct conn *conn, uint16_t code, struct slice reason)
{
    if (conn->state != CONN_OPEN)
        return;
    enter_state(conn, CONN_CLOSING);
    /* Or the peer's close frame would never be read. */
    conn->read_paused = conn->held = conn->ending = false;
    send_close(conn, code, reason);
    rewatch_conn(conn);
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
    enter_state(conn, CONN_LINGERING);
    conn->end_after_flush = true;
    conn->read_paused = conn->held = conn->ending = conn->rested = false;
    leftover_drop(conn);
    mark_dirty(conn);
    conn_set_patience(conn, loop_now_ms(conn->host->loop) + LINGER_MS);
}

static void on_peer_close(struct conn *conn, const struct ws_event *event)
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
static void end_conn(struct conn *conn)
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
        end_conn(conn);
        return;
    }
    rewatch_conn(conn);
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
        end_conn(conn);
}

/* Good messages may have come directly before the fault: their answers leave first. */
static void on_broken(struct conn *conn, const struct ws_event *event)
{
    tally_stat(conn->host, STAT_protocol_errors, 1);
    if (conn->state == CONN_OPEN)
        begin_end(conn, event->close_code, event->reason, true);
    else
        linger_conn(conn);
}

/* ---- reading ---- */

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

static void message_drop(struct conn *conn)
{
    free(conn->message);
    conn->message = NULL;
    conn->message_len = conn->message_size = 0;
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
        tally_stat(host, STAT_deflate_too_large, 1);
        broken = (struct ws_event){ .close_code = WS_CLOSE_TOO_BIG, .reason = "message too large" };
    } else if (err == ERR_BAD) {
        tally_stat(host, STAT_deflate_bad, 1);
    } else if (!err && opcode == WS_TEXT && !utf8_valid(text)) {
        err = ERR_BAD;
        broken.reason = "text not UTF-8";
    }
    if (err == ERR_NOMEM) {
        tally_stat(host, STAT_out_of_memory, 1);
        conn_close_now(conn, WS_CLOSE_INTERNAL, SLICE("out of memory"));
    } else if (err) {
        on_broken(conn, &broken);
    } else {
        tally_stat(host, STAT_deflate_in, 1);
        tally_stat(host, STAT_deflate_in_bytes, packed.len);
        tally_stat(host, STAT_deflate_in_plain, text.len);
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
        tally_stat(conn->host, STAT_out_of_memory, 1);
        conn_close_now(conn, WS_CLOSE_INTERNAL, SLICE("out of memory"));
        message_drop(conn);
        return;
    }
    if (!event->end)
        return;
    take_message(conn, event,
                 slice_make(conn->message ? (char *)conn->message : "", conn->message_len));
    message_drop(conn);
}

static void on_ws_event(struct conn *conn, const struct ws_event *event)
{
    switch (event->type) {
    case WS_EVENT_DATA:
        on_data(conn, event);
        break;
    case WS_EVENT_PING:
        if (conn->state == CONN_OPEN)
            send_control(conn, WS_PONG, event->payload);
        break;
    case WS_EVENT_CLOSE:
        on_peer_close(conn, event);
        break;
    case WS_EVENT_ERROR:
        on_broken(conn, event);
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
        leftover_drop(conn);
    }
    return len;
}

/* Marks the connection for the next turn, even when its socket takes nothing now. */
static void mark_rested(struct conn *conn)
{
    loop_again(conn->host->loop);
    if (conn->is_dirty)
        return;
    conn->is_dirty = true;
    conn->next_dirty = conn->host->dirty;
    conn->host->dirty = conn;
}

/* A few compressed bytes can stand for very much text: what has been read and not decoded waits,
 * so that other connections have their turn. */
static void rest_conn(struct conn *conn, const uint8_t *data, size_t len)
{
    conn->rested = conn->rested_now = true;
    leftover_keep(conn, data, len);
    if (conn->state == CONN_DEAD)
        return;
    mark_rested(conn);
    rewatch_conn(conn);
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
        rewatch_conn(conn); /* at once: a connection that waits for its socket is not flushed at the
                               end of the turn */
    }
}

void conn_feed(struct conn *conn, struct slice bytes)
{
    const char *data = bytes.data;

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
static void read_rested(struct conn *conn)
{
    size_t kept;

    if (conn->read_paused || conn->held || conn->ending || conn->state == CONN_DEAD)
        return;
    if (conn->rested_now) {
        conn->rested_now = false;
        mark_rested(conn);
        return;
    }
    conn->rested = false;
    loop_again(conn->host->loop); /* the owner's questions to Redis leave with the next turn */
    kept = leftover_take(conn, read_buffer);
    rewatch_conn(conn);
    decode_bytes(conn, read_buffer, kept);
    conn->rested_now = false;
}

/* TLS has read ahead of the socket, which then has nothing to announce: the end of the turn sees to
 * the rest. */
static void note_unread(struct conn *conn, ssize_t n)
{
    conn->unread = n == READ_SIZE && tls_unread(conn->tls);
    if (conn->unread || tls_unsent(conn->tls)) /* TLS has answered by itself */
        mark_rested(conn);
}

static void on_conn_readable(struct conn *conn)
{
    size_t kept = leftover_take(conn, read_buffer);
    ssize_t n = stream_read(conn->fd, conn->tls, read_buffer + kept, READ_SIZE);

    if (conn->tls)
        note_unread(conn, n);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        leftover_keep(conn, read_buffer, kept);
        return;
    }
    if (n <= 0) { /* end of file without a close frame, or a reset: the peer is gone either way */
        conn_die(conn);
        return;
    }
    tally_stat(conn->host, STAT_bytes_in, (uint64_t)n);
    if (conn->state != CONN_LINGERING && !conn->ending) /* else input is ignored */
        decode_bytes(conn, read_buffer, kept + (size_t)n);
}

/* ---- writing ---- */

static void tell_stored(void *arg, struct outbox_position position)
{
    struct conn *conn = arg;

    conn->host->calls->stored_left(conn, position);
}

/* Calls has_room at the end of a turn. loop_again, because the owner's questions to Redis leave
 * with the next turn. */
static void tell_room(struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn->outbox.bytes >= conn->room_mark)
        return;
    conn->room_mark = 0;
    loop_again(conn->host->loop);
    conn->host->calls->has_room(conn);
}

static void flush_conn(struct conn *conn)
{
    struct conn_host *host = conn->host;
    struct outbox_sent sent = { .stored = host->calls->stored_left ? tell_stored : NULL,
                                .pack = conn->deflate && conn->deflate->server_takeover
                                            ? pack_in_order
                                            : NULL,
                                .arg = conn };
    enum outbox_result result = outbox_flush(&conn->outbox, conn->fd, conn->tls, &sent);

    if (sent.bytes) {
        tally_stat(host, STAT_bytes_out, sent.bytes);
        tally_stat(host, STAT_messages_out, sent.messages);
        tally_stat(host, STAT_answers_out, sent.answers);
        conn->left_bytes += sent.bytes;
        conn->progress_ms = loop_now_ms(host->loop);
    }
    if (result == OUTBOX_BROKEN) {
        conn_die(conn);
        return;
    }
    if (result == OUTBOX_EMPTY && conn->end_after_flush) {
        if (stream_end(conn->fd, conn->tls))
            conn->end_after_flush = false;
        else
            result = OUTBOX_BLOCKED;
    }
    conn->write_wanted = result == OUTBOX_BLOCKED;
    if (conn->read_paused && conn->outbox.answer_bytes <= host->answer_bytes_max / 2) {
        conn->read_paused = false;
        conn->last_in_ms = loop_now_ms(host->loop); /* this side did not read meanwhile */
    }
    rewatch_conn(conn);
    if (conn->state == CONN_DEAD)
        return;
    if (conn->outbox.bytes)
        set_timer(conn);
    if (result == OUTBOX_MORE) {
        mark_dirty(conn);
        loop_again(host->loop);
    }
    if (conn->room_mark)
        tell_room(conn);
}

static void on_conn_event(void *arg, int fd, unsigned events)
{
    struct conn *conn = arg;

    (void)fd;
    if (events & LOOP_WRITE) {
        conn->write_wanted = false;
        mark_dirty(conn);
    }
    if (events & LOOP_READ && conn->state != CONN_DEAD)
        on_conn_readable(conn);
    /* A host that answers at once has marked this connection only. */
    if (conn->host->answers_at_once && conn->host->dirty == conn && conn->state != CONN_DEAD &&
        !conn->rested && !conn->unread) {
        conn->host->dirty = conn->next_dirty;
        conn->is_dirty = false;
        flush_conn(conn);
    }
}

/* Sheds waiting signals to make room for msg: signals of at most the level of a signal, of any
 * level for mail. False when the room does not suffice. */
static bool shed_for(struct conn *conn, const struct msg *msg)
{
    struct conn_host *host = conn->host;
    uint64_t bytes = msg->len + WS_HEAD_MAX;
    uint64_t waiting = conn->outbox.bytes;
    int level_max = msg->kind == MSG_SIGNAL ? msg->level : 9;

    if (waiting + bytes <= host->queue_bytes_max || waiting == 0)
        return true;
    if (conn->outbox.signal_bytes) {
        unsigned shed =
            outbox_shed(&conn->outbox, waiting + bytes - host->queue_bytes_max, level_max);
        tally_stat(host, STAT_signals_shed, shed);
    }
    return conn->outbox.bytes + bytes <= host->queue_bytes_max;
}

enum err conn_send(struct conn *conn, struct msg *msg)
{
    bool bounded = msg->kind == MSG_SIGNAL || msg->kind == MSG_MAIL;
    enum err err;

    if (conn->state != CONN_OPEN)
        return ERR_DOWN;
    msg = form_to_queue(conn, msg, false);
    if (bounded && !shed_for(conn, msg)) {
        if (msg->kind == MSG_SIGNAL)
            tally_stat(conn->host, STAT_signals_shed, 1);
        return ERR_FULL;
    }
    err = queue_msg(conn, msg, (struct outbox_position){ 0 });
    if (err && msg->kind == MSG_SIGNAL)
        tally_stat(conn->host, STAT_signals_shed, 1);
    return err;
}

enum err conn_send_at(struct conn *conn, struct msg *msg, struct outbox_position position)
{
    if (conn->state != CONN_OPEN)
        return ERR_DOWN;
    return queue_msg(conn, form_to_queue(conn, msg, position.ms || position.n), position);
}

void conn_ask_for_room(struct conn *conn, uint64_t mark)
{
    conn->room_mark = mark;
    mark_dirty(conn); /* the mark may be reached already */
}

void conn_hold(struct conn *conn)
{
    conn->held = true;
    rewatch_conn(conn);
}

void conn_release(struct conn *conn)
{
    if (!conn->held)
        return;
    conn->held = false;
    conn->last_in_ms = loop_now_ms(conn->host->loop); /* this side did not read meanwhile */
    rewatch_conn(conn);
    set_timer(conn);
    if (conn->rested || conn->unread)
        mark_rested(conn);
}

enum err conn_answer(struct conn *conn, enum ws_opcode opcode, struct slice payload)
{
    if (conn->state != CONN_OPEN)
        return ERR_DOWN;
    if (conn->deflate && deflate_is_worth(conn->deflate, payload.len))
        return queue_packed_answer(conn, (uint8_t)opcode, payload);
    return queue_answer(conn, (uint8_t)opcode, payload);
}

enum err conn_send_raw(struct conn *conn, struct slice bytes)
{
    return conn->state == CONN_OPEN ? queue_answer(conn, OUTBOX_RAW, bytes) : ERR_DOWN;
}

/* ---- life ---- */

enum err conn_start(struct conn *conn, struct conn_host *host, int fd, struct tls *tls)
{
    uint64_t now_ms = loop_now_ms(host->loop);

    conn->host = host;
    conn->fd = fd;
    conn->tls = tls;
    conn->state = CONN_OPEN;
    conn->last_in_ms = conn->progress_ms = now_ms;
    conn->deadline_ms = conn->close_at_ms = UINT64_MAX;
    ws_decoder_init(&conn->decoder, host->message_bytes_max);
    if (loop_watch(host->loop, &conn->watch, fd, LOOP_READ, on_conn_event, conn)) {
        stream_close(fd, tls);
        return ERR_SYSTEM;
    }
    host->open_count++;
    set_timer(conn);
    if (tls && tls_unread(tls)) {
        conn->unread = true;
        mark_rested(conn);
    }
    return OK;
}

static void count_takeover(const struct conn_host *host)
{
    if (host->stats)
        stats_set(host->stats, STAT_deflate_takeover, host->deflate.takeover_count);
}

enum err conn_compress(struct conn *conn, const struct deflate_terms *terms)
{
    if (!terms->agreed)
        return OK;
    conn->deflate = deflate_begin(&conn->host->deflate, terms);
    if (!conn->deflate)
        return ERR_NOMEM;
    conn->decoder.deflate = WS_DEFLATE_ON;
    count_takeover(conn->host);
    return OK;
}

static void bury_conn(struct conn *conn)
{
    struct conn_host *host = conn->host;

    tally_stat(host, STAT_mail_undelivered, conn->outbox.mail_count);
    outbox_fini(&conn->outbox);
    message_drop(conn);
    leftover_drop(conn);
    if (conn->deflate) {
        deflate_end(conn->deflate);
        count_takeover(host);
    }
    host->open_count--;
    host->calls->gone(conn); /* gone frees the memory */
}

/* Bytes that TLS has read ahead are given to the connection in the next turn. While the connection
 * is not read they wait: conn_release and each flush come back to them. `unread` stays until
 * on_conn_readable has run, because a rewatch forgets the event. */
static void read_again(struct conn *conn)
{
    if (conn->state == CONN_DEAD || not_reading(conn))
        return;
    loop_read_again(&conn->watch);
    loop_again(conn->host->loop);
}

void conn_host_flush(struct conn_host *host)
{
    struct conn *todo = host->dirty;

    host->dirty = NULL;
    while (todo) {
        struct conn *conn = todo;
        todo = conn->next_dirty;
        conn->is_dirty = false;
        if (conn->state != CONN_DEAD)
            flush_conn(conn);
        if (conn->rested)
            read_rested(conn);
        if (conn->unread)
            read_again(conn);
    }
    todo = host->dead;
    host->dead = NULL;
    while (todo) {
        struct conn *conn = todo;
        todo = conn->next_dead;
        if (conn->is_dirty) { /* since it died while the first list was flushed */
            conn->next_dead = host->dead;
            host->dead = conn;
            loop_again(host->loop);
        } else {
            bury_conn(conn);
        }
    }
}

void conn_host_init(struct conn_host *host, struct loop *loop, struct stats_row *stats,
                    const struct conn_calls *calls, void *owner)
{
    *host = (struct conn_host){ .loop = loop, .stats = stats, .calls = calls, .owner = owner };
    wheel_init(&host->wheel, loop_now_ms(loop), on_conn_due);
}
