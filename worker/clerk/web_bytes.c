/*
 * The bytes of a connection of the clerk, plain or by TLS; its time, and its end.
 */
#include "worker/clerk/web_parts.h"

#include "shm/stats.h"
#include "worker/wire/stream.h"

#include <stdlib.h>

enum { LINGER_MS = 2000 };

/* ---- the end of a connection ---- */

void web_uncount_body(struct web_conn *conn)
{
    if (conn->is_counted)
        conn->web->bodies -= conn->body_len;
    conn->is_counted = false;
}

void web_watch_doors(struct web *web)
{
    bool closed = !web->is_open || web->leaving;

    for (size_t i = 0; i < web->entry_count; i++) {
        struct web_entry *entry = &web->entries[i];
        bool full = entry->door.is_local ? web->local_full : web->far_full;
        loop_rewatch(web->loop, &entry->watch, closed || full ? 0 : LOOP_READ);
    }
}

void web_free_conn(struct web_conn *conn)
{
    struct web *web = conn->web;
    bool *full = conn->request.is_local ? &web->local_full : &web->far_full;

    web_uncount_body(conn);
    web->waiting -= conn->waiting;
    TAILQ_REMOVE(&web->conns, conn, link);
    if (conn->request.is_local)
        web->local_count--;
    else
        web->far_count--;
    buf_fini(&conn->input);
    buf_fini(&conn->output);
    free(conn);
    if (*full) {
        *full = false;
        web_watch_doors(web);
    }
}

void web_close(struct web_conn *conn)
{
    if (!conn->gone) {
        loop_unwatch(&conn->watch);
        if (conn->tls && conn->stage != WEB_GREETING)
            tls_end(conn->tls); /* the peer may be told as well that nothing was cut off */
        stream_close(conn->fd, conn->tls);
        conn->tls = NULL;
        conn->gone = true;
    }
    if (conn->stage != WEB_ANSWERING)
        web_free_conn(conn);
}

/* ---- its time ---- */

void web_extend_time(struct web_conn *conn)
{
    conn->due_ms = loop_now_ms(conn->web->loop) + (uint64_t)conn->web->settings.idle_s * 1000;
}

/* ---- its bytes ---- */

bool web_rewatch(struct web_conn *conn, unsigned events)
{
    if (loop_rewatch(conn->web->loop, &conn->watch, events) == OK)
        return true;
    web_close(conn);
    return false;
}

/* TLS may have something to send by itself: an answer to a key update. */
bool web_rewatch_input(struct web_conn *conn)
{
    bool unsent = conn->tls && tls_unsent(conn->tls) > 0;

    return web_rewatch(conn, LOOP_READ | (unsent ? LOOP_WRITE : 0u));
}

bool web_read(struct web_conn *conn)
{
    ssize_t n;

    if (buf_reserve(&conn->input, WEB_READ_STEP)) {
        web_close(conn);
        return false;
    }
    n = stream_read(conn->fd, conn->tls, conn->input.data + conn->input.len, WEB_READ_STEP);
    conn->is_ahead = conn->tls && n == WEB_READ_STEP && tls_unread(conn->tls);
    conn->web->unread |= conn->is_ahead;
    if (n > 0) {
        conn->input.len += (size_t)n;
        return !conn->tls || tls_unsent(conn->tls) == 0 || web_rewatch_input(conn);
    }
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        web_close(conn);
    else if (conn->tls)
        web_rewatch_input(conn);
    return false;
}

bool web_write(struct web_conn *conn)
{
    bool broken = false;

    while (!broken && conn->sent < conn->output.len) {
        struct iovec piece = { conn->output.data + conn->sent, conn->output.len - conn->sent };
        ssize_t n = stream_write(conn->fd, conn->tls, &piece, 1);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        broken = n < 0;
        conn->sent += broken ? 0 : (size_t)n;
        if (!broken)
            web_extend_time(conn);
    }
    if (!broken && conn->tls)
        broken = tls_finish(conn->tls) < 0 && errno != EAGAIN;
    if (broken)
        web_close(conn);
    return !broken;
}

bool web_has_left(const struct web_conn *conn)
{
    return conn->sent == conn->output.len && (!conn->tls || tls_unsent(conn->tls) == 0);
}

/* A TLS end that the socket does not take now is left out: the answer said its length. */
void web_begin_linger(struct web_conn *conn)
{
    if (!stream_end(conn->fd, conn->tls))
        shutdown(conn->fd, SHUT_WR);
    conn->stage = WEB_LINGER;
    conn->due_ms = loop_now_ms(conn->web->loop) + LINGER_MS;
}

/* As many bytes as a body may have: a peer whose body was refused may have sent all of it. */
void web_throw_away(struct web_conn *conn)
{
    char bytes[WEB_READ_STEP];
    ssize_t n = recv(conn->fd, bytes, sizeof bytes, 0); /* of TLS, too: nobody reads them */
    bool much;

    conn->thrown += n > 0 ? (size_t)n : 0;
    much = conn->thrown > conn->web->settings.body_max;
    if (much)
        stats_add(conn->web->stats, STAT_cut_after_close, 1);
    if (much || n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        web_close(conn);
}
