/*
 * The handshake of TLS at the clerk's doors. The private key is used once a turn (web_turn), so
 * that a crowd of strangers that shake hands leaves room for those who ask.
 */
#include "worker/clerk/web_parts.h"

#include "common/log.h"
#include "worker/wire/tls_tally.h"

static void greeting_failed(struct web_conn *conn)
{
    static const struct http_fault plain = { 400, "bad-request",
                                             "this address speaks TLS: use https://" };

    tls_tally_failed(conn->web->stats, conn->tls);
    if (tls_fault(conn->tls) == TLS_FAULT_PLAIN_HTTP) {
        tls_free(conn->tls);
        conn->tls = NULL;
        conn->request.method = SLICE("GET");
        web_refuse(conn, &plain);
    } else if (tls_fault(conn->tls) == TLS_FAULT_CUT) {
        web_close(conn);
    } else {
        web_begin_linger(conn); /* or a reset could overtake the alert */
        web_rewatch(conn, LOOP_READ);
    }
}

static void greeting_over(struct web_conn *conn)
{
    struct web *web = conn->web;

    tls_tally_done(web->stats, conn->tls, loop_now_ns(web->loop) - conn->came_ns);
    conn->stage = WEB_HEAD;
    conn->is_ahead = tls_unread(conn->tls);
    web->unread |= conn->is_ahead;
    web_extend_time(conn);
    web_rewatch_input(conn);
}

void web_greet(struct web_conn *conn, bool leave)
{
    conn->wants_leave = false;
    switch (tls_handshake(conn->tls, leave)) {
    case TLS_READY:
        greeting_over(conn);
        break;
    case TLS_WANTS_READ:
        web_rewatch(conn, LOOP_READ);
        break;
    case TLS_WANTS_WRITE:
        web_rewatch(conn, LOOP_READ | LOOP_WRITE);
        break;
    case TLS_WANTS_LEAVE:
        conn->wants_leave = conn->web->unread = true;
        web_rewatch(conn, 0); /* bytes behind the hello wait in the socket */
        break;
    case TLS_FAILED:
        greeting_failed(conn);
        break;
    }
}
