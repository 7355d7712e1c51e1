/*
 * An answer of the clerk, from the handler's words to its last byte.
 */
#include "worker/clerk/web_parts.h"

#include <stdio.h>

static const char busy[] = "{\"type\":\"about:blank\",\"status\":503,\"code\":\"busy\",\"detail\":"
                           "\"too many answers wait to be read, or out of memory\"}\n";

/* Answers wait for readers that take nothing, and are bounded together. One alone is never refused,
 * nor is a small one: the words for want of room find room. */
static bool is_too_much(const struct web *web, size_t bytes)
{
    return web->waiting && bytes > WEB_ANSWER_SMALL &&
           web->waiting + bytes > web->settings.bodies_max + WEB_WAITING_BYTES;
}

static void count_answer(struct web_conn *conn)
{
    conn->waiting = conn->output.len;
    conn->web->waiting += conn->waiting;
}

static void uncount_answer(struct web_conn *conn)
{
    conn->web->waiting -= conn->waiting;
    conn->waiting = 0;
}

/* False: no memory, and nothing has been added. */
static bool add_answer(struct web_conn *conn, const struct web_answer *answer)
{
    struct buf *out = &conn->output;
    size_t before = out->len;
    bool is_head = slice_equal(conn->request.method, SLICE("HEAD"));

    http_answer_status(out, answer->status, loop_unix_s(conn->web->loop));
    if (answer->content_type)
        buf_addf(out, "Content-Type: %s\r\n", answer->content_type);
    if (answer->status != 204)
        buf_addf(out, "Content-Length: %zu\r\n", answer->body.len);
    buf_addf(out, "Cache-Control: no-store\r\nConnection: %s\r\n%s\r\n",
             conn->keep_alive ? "keep-alive" : "close", answer->headers ? answer->headers : "");
    if (!is_head)
        buf_add_slice(out, answer->body);
    if (!out->failed)
        return true;
    out->len = before;
    out->failed = false;
    return false;
}

/* The request has been answered: its bytes make room for the next. */
static void drop_request(struct web_conn *conn)
{
    buf_drop(&conn->input, conn->head_len + conn->body_len);
    web_uncount_body(conn);
    conn->head_len = conn->body_len = 0;
    http_parser_init(&conn->parser, WEB_HEAD_MAX);
}

bool web_answer_leaves(struct web_conn *conn)
{
    if (!web_write(conn))
        return false;
    if (!web_has_left(conn))
        return web_rewatch(conn, LOOP_WRITE);
    uncount_answer(conn);
    buf_fini(&conn->output);
    buf_init(&conn->output, WEB_ANSWER_HEAD_MAX + WEB_ANSWER_BODY_MAX);
    conn->sent = 0;
    if (conn->stage == WEB_LAST) {
        web_begin_linger(conn);
    } else {
        conn->stage = WEB_HEAD;
        conn->is_unread = conn->input.len > 0;
        conn->web->unread |= conn->is_unread || conn->is_ahead;
        web_extend_time(conn);
    }
    return web_rewatch(conn, LOOP_READ);
}

/* Takes the answer into the output, and begins to write. */
static void begin_answer(struct web_conn *conn, const struct web_answer *answer)
{
    static const struct web_answer no_memory = {
        .status = 503,
        .content_type = "application/problem+json",
        .body = { busy, sizeof busy - 1 },
        .headers = "Retry-After: 1\r\n",
    };

    if ((is_too_much(conn->web, answer->body.len) || !add_answer(conn, answer)) &&
        !add_answer(conn, &no_memory))
        conn->keep_alive = false;
    count_answer(conn);
    conn->stage = conn->keep_alive ? WEB_WRITING : WEB_LAST;
    drop_request(conn);
    web_extend_time(conn);
    web_answer_leaves(conn);
}

void web_answer(struct web_request *request, const struct web_answer *answer)
{
    struct web_conn *conn = request->conn;

    if (conn->gone) {
        conn->stage = WEB_LAST;
        web_free_conn(conn);
        return;
    }
    begin_answer(conn, answer);
}

void web_refuse(struct web_conn *conn, const struct http_fault *fault)
{
    char body[512];
    int len = snprintf(body, sizeof body, "{\"status\":%d,\"title\":\"%s\",\"code\":\"%s\"}",
                       fault->status, fault->message, fault->code);

    conn->keep_alive = false;
    begin_answer(conn, &(struct web_answer){ .status = fault->status,
                                             .content_type = "application/problem+json",
                                             .body = slice_make(body, (size_t)len),
                                             .headers = fault->status == 503 ? "Retry-After: 1\r\n"
                                                                             : NULL });
}
