/*
 * Requests at the clerk's doors: a head, judged before its body is awaited, and the body.
 */
#include "worker/clerk/web_parts.h"

#include "worker/wire/http_head.h"

struct slice web_header(const struct web_request *request, struct slice name, bool *is_twice)
{
    const struct web_conn *conn = request->conn;
    struct slice value = { NULL, 0 }, next;
    uint32_t at = 0;

    if (is_twice)
        *is_twice = false;
    while (http_head_next(&conn->parser, conn->input.data, name, &at, &next)) {
        if (value.data && is_twice)
            *is_twice = true;
        if (!value.data)
            value = next;
    }
    return value;
}

/* The value of Content-Length: digits alone (RFC 9110 8.6). */
static bool read_length(struct slice text, size_t *len)
{
    *len = 0;
    if (text.len == 0 || text.len > 12)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *len = *len * 10 + (size_t)(text.data[i] - '0');
    }
    return true;
}

static bool names_close(struct slice list)
{
    for (size_t at = 0; at < list.len;) {
        size_t end = at, stop;
        while (end < list.len && list.data[end] != ',')
            end++;
        stop = end;
        while (at < stop && (list.data[at] == ' ' || list.data[at] == '\t'))
            at++;
        while (stop > at && (list.data[stop - 1] == ' ' || list.data[stop - 1] == '\t'))
            stop--;
        if (slice_equal_nocase(slice_make(list.data + at, stop - at), SLICE("close")))
            return true;
        at = end + 1;
    }
    return false;
}

/* Takes the parts of a whole head. False: *fault says why the request cannot be served. */
static bool take_head(struct web_conn *conn, struct http_fault *fault)
{
    struct web_request *request = &conn->request;
    const char *head = conn->input.data;
    struct slice target = slice_make(head + conn->parser.target_at, conn->parser.target_len);
    struct slice length, expect;
    const char *mark;
    bool twice;

    request->method = http_head_method(&conn->parser, head);
    request->path = http_head_path(&conn->parser, head);
    mark = memchr(target.data, '?', target.len);
    request->query = mark ? slice_make(mark + 1, target.len - (size_t)(mark + 1 - target.data))
                          : slice_make("", 0);
    conn->keep_alive = conn->parser.minor_version >= 1 && !conn->web->leaving &&
                       !names_close(web_header(request, SLICE("connection"), NULL));
    conn->body_len = 0;
    if (!request->path.data) {
        *fault = (struct http_fault){ 400, "bad-request", "the target must be a path" };
        return false;
    }
    if (!web_header(request, SLICE("host"), &twice).data ? conn->parser.minor_version >= 1
                                                         : twice) {
        *fault = (struct http_fault){ 400, "bad-request", "a request has one Host header" };
        return false;
    }
    if (web_header(request, SLICE("transfer-encoding"), NULL).data) {
        *fault = (struct http_fault){ 411, "length-required", "send a Content-Length" };
        return false;
    }
    length = web_header(request, SLICE("content-length"), &twice);
    if (length.data && (twice || !read_length(length, &conn->body_len))) {
        *fault = (struct http_fault){ 400, "bad-request", "Content-Length is not a number" };
        return false;
    }
    if (conn->body_len > conn->web->settings.body_max) {
        *fault = (struct http_fault){ 413, "too-large", "the body is longer than admin.bodyBytes" };
        return false;
    }
    if (conn->web->bodies + conn->body_len > conn->web->settings.bodies_max) {
        *fault = (struct http_fault){ 503, "busy", "too many bodies are under way" };
        return false;
    }
    expect = web_header(request, SLICE("expect"), NULL);
    if (expect.data && !slice_equal_nocase(expect, SLICE("100-continue"))) {
        *fault = (struct http_fault){ 417, "bad-request", "only 100-continue can be expected" };
        return false;
    }
    conn->awaits_100 = expect.data && conn->body_len && conn->input.len <= conn->head_len;
    return true;
}

/* The body of somebody at an address is awaited only when the handler admits the request. False:
 * the handler has answered; the body is never read as a request, so the connection ends. */
static bool admit_body(struct web_conn *conn)
{
    bool keep_alive = conn->keep_alive;
    size_t body_len = conn->body_len;

    if (conn->request.is_local || conn->input.len >= conn->head_len + body_len)
        return true;
    conn->keep_alive = false;
    conn->body_len = 0;
    if (!conn->web->calls.admits(conn->web->arg, &conn->request))
        return false;
    conn->keep_alive = keep_alive;
    conn->body_len = body_len;
    return true;
}

/* The head is whole. False: the connection was closed or has been answered. */
static bool head_came(struct web_conn *conn)
{
    struct http_fault fault;

    if (!take_head(conn, &fault)) {
        conn->body_len = 0;
        web_refuse(conn, &fault);
        return false;
    }
    if (!admit_body(conn))
        return false;
    conn->web->bodies += conn->body_len;
    conn->is_counted = true;
    conn->stage = WEB_BODY;
    if (conn->awaits_100)
        buf_add_text(&conn->output, "HTTP/1.1 100 Continue\r\n\r\n");
    return web_write(conn);
}

static void body_came(struct web_conn *conn)
{
    struct web_request *request = &conn->request;

    request->method = http_head_method(&conn->parser, conn->input.data);
    request->path = http_head_path(&conn->parser, conn->input.data);
    if (request->query.len) {
        struct slice target =
            slice_make(conn->input.data + conn->parser.target_at, conn->parser.target_len);
        const char *mark = memchr(target.data, '?', target.len);
        request->query = slice_make(mark + 1, target.len - (size_t)(mark + 1 - target.data));
    }
    request->body = slice_make(conn->input.data + conn->head_len, conn->body_len);
    conn->stage = WEB_ANSWERING;
    conn->output.len = conn->sent = 0; /* of a 100 that has left */
    if (web_rewatch(conn, 0))
        conn->web->calls.request(conn->web->arg, request);
}

void web_take_input(struct web_conn *conn)
{
    struct http_fault fault;

    if (conn->stage == WEB_HEAD && conn->input.len) {
        switch (
            http_parse(&conn->parser, conn->input.data, conn->input.len, &conn->head_len, &fault)) {
        case HTTP_MORE:
            return;
        case HTTP_BROKEN:
            conn->head_len = conn->body_len = 0;
            conn->request.method = SLICE("");
            web_refuse(conn, &fault);
            return;
        case HTTP_WHOLE:
            if (!head_came(conn))
                return;
        }
    }
    if (conn->stage == WEB_BODY && conn->input.len >= conn->head_len + conn->body_len)
        body_came(conn);
}
