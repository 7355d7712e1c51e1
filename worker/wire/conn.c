/*
 * A connection's life: its start, the events of its socket, and the end of each turn, when frames
 * leave and dead connections are freed.
 */
#include "worker/wire/conn_parts.h"

static void on_conn_event(void *arg, int fd, unsigned events)
{
    struct conn *conn = arg;

    (void)fd;
    if (events & LOOP_WRITE) {
        conn->write_wanted = false;
        conn_mark_dirty(conn);
    }
    if (events & LOOP_READ && conn->state != CONN_DEAD)
        conn_on_readable(conn);
    /* A host that answers at once has marked this connection only. */
    if (conn->host->answers_at_once && conn->host->dirty == conn && conn->state != CONN_DEAD &&
        !conn->rested && !conn->unread) {
        conn->host->dirty = conn->next_dirty;
        conn->is_dirty = false;
        conn_flush(conn);
    }
}

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
    conn_set_timer(conn);
    if (tls && tls_unread(tls)) {
        conn->unread = true;
        conn_mark_rested(conn);
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

    conn_tally(host, STAT_mail_undelivered, conn->outbox.mail_count);
    outbox_fini(&conn->outbox);
    conn_message_drop(conn);
    conn_leftover_drop(conn);
    if (conn->deflate) {
        deflate_end(conn->deflate);
        count_takeover(host);
    }
    host->waiting_bytes -= conn->noted_bytes;
    host->open_count--;
    host->calls->gone(conn); /* gone frees the memory */
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
            conn_flush(conn);
        if (conn->rested)
            conn_read_rested(conn);
        if (conn->unread)
            conn_read_again(conn);
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
    wheel_init(&host->wheel, loop_now_ms(loop), conn_on_due);
}
