/*
 * Frames to the peer: queued in the outbox, compressed where that is agreed, written at the end of
 * the turn. A full queue sheds signals.
 */
#include "worker/wire/conn_parts.h"

#include "worker/wire/deflate_form.h"

/* Every frame enters the outbox by queue_msg or queue_answer. */
static inline enum err queue_msg(struct conn *conn, struct msg *msg,
                                 struct outbox_position position)
{
    if (conn->outbox.bytes == 0) /* nothing waited until now */
        conn->progress_ms = conn->measured_ms = loop_now_ms(conn->host->loop);
    conn_mark_dirty(conn);
    return outbox_put_at(&conn->outbox, msg, position);
}

static inline enum err queue_answer(struct conn *conn, uint8_t opcode, struct slice payload)
{
    if (conn->outbox.bytes == 0)
        conn->progress_ms = conn->measured_ms = loop_now_ms(conn->host->loop);
    conn_mark_dirty(conn);
    return outbox_answer(&conn->outbox, opcode, payload);
}

/* ---- compression of what leaves ---- */

static void tally_packed(const struct conn *conn, enum deflate_made made, uint64_t plain_len,
                         uint64_t packed_len)
{
    if (made == DEFLATE_NO_MEMORY)
        conn_tally(conn->host, STAT_deflate_no_memory, 1);
    if (made == DEFLATE_NO_SHARE)
        conn_tally(conn->host, STAT_deflate_no_share, 1);
    if (made == DEFLATE_NO_GAIN)
        conn_tally(conn->host, STAT_deflate_no_gain, 1);
    if (made != DEFLATE_USED && made != DEFLATE_PACKED)
        return;
    conn_tally(conn->host, STAT_deflate_runs, made == DEFLATE_PACKED);
    conn_tally(conn->host, STAT_deflate_out, 1);
    conn_tally(conn->host, STAT_deflate_out_plain, plain_len);
    conn_tally(conn->host, STAT_deflate_out_bytes, packed_len);
}

/* For connections that compress. Returns what is queued in place of msg. stored: a position takes
 * the place of the first byte. */
static struct msg *form_to_queue(struct conn *conn, struct msg *msg, bool stored)
{
    enum deflate_made made;
    struct msg *form;

    if (!deflate_is_worth(conn->deflate, msg->len))
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
    if (!deflate_has_share(conn->deflate, payload.len)) {
        tally_packed(conn, DEFLATE_NO_SHARE, payload.len, 0);
        return queue_answer(conn, opcode, payload);
    }
    err = deflate_pack(conn->deflate, payload, &packed);
    tally_packed(conn,
                 !err              ? DEFLATE_PACKED
                 : err == ERR_FULL ? DEFLATE_NO_GAIN
                                   : DEFLATE_NO_MEMORY,
                 payload.len, err ? 0 : packed.len);
    return err ? queue_answer(conn, opcode, payload)
               : queue_answer(conn, opcode | WS_COMPRESSED, packed);
}

/* ---- what is queued ---- */

void conn_send_control(struct conn *conn, enum ws_opcode opcode, struct slice payload)
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
        conn_tally(host, STAT_signals_shed, shed);
    }
    return conn->outbox.bytes + bytes <= host->queue_bytes_max;
}

enum err conn_send(struct conn *conn, struct msg *msg)
{
    bool bounded = msg->kind == MSG_SIGNAL || msg->kind == MSG_MAIL;
    enum err err;

    if (conn->state != CONN_OPEN)
        return ERR_DOWN;
    if (conn->deflate)
        msg = form_to_queue(conn, msg, false);
    if (bounded && !shed_for(conn, msg)) {
        if (msg->kind == MSG_SIGNAL)
            conn_tally(conn->host, STAT_signals_shed, 1);
        return ERR_FULL;
    }
    err = queue_msg(conn, msg, (struct outbox_position){ 0 });
    if (err && msg->kind == MSG_SIGNAL)
        conn_tally(conn->host, STAT_signals_shed, 1);
    return err;
}

enum err conn_send_at(struct conn *conn, struct msg *msg, struct outbox_position position)
{
    if (conn->state != CONN_OPEN)
        return ERR_DOWN;
    if (conn->deflate)
        msg = form_to_queue(conn, msg, position.ms || position.n);
    return queue_msg(conn, msg, position);
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

void conn_ask_for_room(struct conn *conn, uint64_t mark)
{
    conn->room_mark = mark;
    conn_mark_dirty(conn); /* the mark may be reached already */
}

/* ---- what leaves ---- */

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

void conn_flush(struct conn *conn)
{
    struct conn_host *host = conn->host;
    struct outbox_sent sent = { .stored = host->calls->stored_left ? tell_stored : NULL,
                                .pack = conn->deflate && conn->deflate->server_takeover
                                            ? pack_in_order
                                            : NULL,
                                .arg = conn };
    enum outbox_result result = outbox_flush(&conn->outbox, conn->fd, conn->tls, &sent);

    host->waiting_bytes += conn->outbox.bytes - conn->noted_bytes;
    conn->noted_bytes = conn->outbox.bytes;
    if (sent.bytes) {
        conn_tally(host, STAT_bytes_out, sent.bytes);
        conn_tally(host, STAT_messages_out, sent.messages);
        conn_tally(host, STAT_answers_out, sent.answers);
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
    conn_rewatch(conn);
    if (conn->state == CONN_DEAD)
        return;
    if (conn->outbox.bytes)
        conn_set_timer(conn);
    if (result == OUTBOX_MORE) {
        conn_mark_dirty(conn);
        loop_again(host->loop);
    }
    if (conn->room_mark)
        tell_room(conn);
}
