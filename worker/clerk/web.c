#include "worker/clerk/web.h"

#include "common/buf.h"
#include "common/log.h"
#include "worker/wire/http_head.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEAD_MAX = 16 * 1024,
    READ_STEP = 16 * 1024,
    ACCEPT_BATCH = 16,
    ANSWER_HEAD_MAX = 4096,
    ANSWER_BODY_MAX = 64 << 20,
    LINGER_MS = 2000,
};

enum stage {
    STAGE_HEAD,      /* the head of a request comes, or none has begun */
    STAGE_BODY,      /* the body comes */
    STAGE_ANSWERING, /* the handler has the request */
    STAGE_WRITING,   /* the answer leaves */
    STAGE_LAST,      /* the answer leaves, and then the connection closes */
    STAGE_LINGER,    /* the last answer has left: what still comes is thrown away, because a reset
                        would take the answer from the peer */
};

struct web_conn {
    TAILQ_ENTRY(web_conn) link;
    struct web *web;
    struct loop_watch watch;
    struct http_parser parser;
    struct web_request request;
    struct buf input, output;
    size_t head_len, body_len, sent;
    uint64_t due_ms;
    enum stage stage;
    bool is_counted; /* body_len is in web->bodies */
    bool keep_alive;
    bool is_unread; /* the input may hold another whole request */
    bool gone;      /* the socket is closed, the handler still has the request */
    int fd;
};

struct door {
    struct web *web;
    struct loop_watch watch;
    int fd;
    bool is_local;
};

struct web {
    struct loop *loop;
    struct web_settings settings;
    web_handler handler;
    void *arg;
    TAILQ_HEAD(web_conn_list, web_conn) conns;
    uint32_t count;
    size_t bodies; /* bytes of bodies that have come or are awaited */
    bool is_open, is_full, leaving, unread;
    size_t door_count;
    struct door doors[];
};

/* ---- the end of a connection ---- */

static void uncount_body(struct web_conn *conn)
{
    if (conn->is_counted)
        conn->web->bodies -= conn->body_len;
    conn->is_counted = false;
}

static void watch_doors(struct web *web)
{
    for (size_t i = 0; i < web->door_count; i++)
        loop_rewatch(web->loop, &web->doors[i].watch,
                     !web->is_open || web->is_full || web->leaving ? 0 : LOOP_READ);
}

static void free_conn(struct web_conn *conn)
{
    struct web *web = conn->web;

    uncount_body(conn);
    TAILQ_REMOVE(&web->conns, conn, link);
    web->count--;
    buf_fini(&conn->input);
    buf_fini(&conn->output);
    free(conn);
    if (web->is_full) {
        web->is_full = false;
        watch_doors(web);
    }
}

static void close_conn(struct web_conn *conn)
{
    if (!conn->gone) {
        loop_unwatch(&conn->watch);
        close(conn->fd);
        conn->gone = true;
    }
    if (conn->stage != STAGE_ANSWERING)
        free_conn(conn);
}

static void extend_time(struct web_conn *conn)
{
    conn->due_ms = loop_now_ms(conn->web->loop) + (uint64_t)conn->web->settings.idle_s * 1000;
}

/* ---- answers ---- */

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
    uncount_body(conn);
    conn->head_len = conn->body_len = 0;
    http_parser_init(&conn->parser, HEAD_MAX);
}

/* False: the connection is closed. */
static bool write_some(struct web_conn *conn)
{
    while (conn->sent < conn->output.len) {
        ssize_t n = send(conn->fd, conn->output.data + conn->sent, conn->output.len - conn->sent,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n < 0) {
            close_conn(conn);
            return false;
        }
        conn->sent += (size_t)n;
        extend_time(conn);
    }
    return true;
}

static bool rewatch(struct web_conn *conn, unsigned events)
{
    if (loop_rewatch(conn->web->loop, &conn->watch, events) == OK)
        return true;
    close_conn(conn);
    return false;
}

/* Writes what there is. When all has left: the next request, or the end. False: closed. */
static bool answer_leaves(struct web_conn *conn)
{
    if (!write_some(conn))
        return false;
    if (conn->sent < conn->output.len)
        return rewatch(conn, LOOP_WRITE);
    buf_fini(&conn->output);
    buf_init(&conn->output, ANSWER_HEAD_MAX + ANSWER_BODY_MAX);
    conn->sent = 0;
    if (conn->stage == STAGE_LAST) {
        shutdown(conn->fd, SHUT_WR);
        conn->stage = STAGE_LINGER;
        conn->due_ms = loop_now_ms(conn->web->loop) + LINGER_MS;
    } else {
        conn->stage = STAGE_HEAD;
        conn->is_unread = conn->input.len > 0;
        conn->web->unread |= conn->is_unread;
        extend_time(conn);
    }
    return rewatch(conn, LOOP_READ);
}

/* Takes the answer into the output, and begins to write. False: closed. */
static bool begin_answer(struct web_conn *conn, const struct web_answer *answer)
{
    static const struct web_answer no_memory = { .status = 503, .headers = "Retry-After: 1\r\n" };

    if (!add_answer(conn, answer) && !add_answer(conn, &no_memory))
        conn->keep_alive = false;
    conn->stage = conn->keep_alive ? STAGE_WRITING : STAGE_LAST;
    drop_request(conn);
    extend_time(conn);
    return answer_leaves(conn);
}

void web_answer(struct web_request *request, const struct web_answer *answer)
{
    struct web_conn *conn = request->conn;

    if (conn->gone) {
        conn->stage = STAGE_LAST;
        free_conn(conn);
        return;
    }
    begin_answer(conn, answer);
}

/* The server's own refusal, after which nothing of the connection can be understood. */
static void refuse(struct web_conn *conn, const struct http_fault *fault)
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

/* ---- requests ---- */

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
    if (expect.data && conn->body_len && conn->input.len <= conn->head_len)
        buf_add_text(&conn->output, "HTTP/1.1 100 Continue\r\n\r\n");
    return true;
}

/* The head is whole. False: the connection was closed or has been answered. */
static bool head_came(struct web_conn *conn)
{
    struct http_fault fault;

    if (!take_head(conn, &fault)) {
        conn->body_len = 0;
        refuse(conn, &fault);
        return false;
    }
    conn->web->bodies += conn->body_len;
    conn->is_counted = true;
    conn->stage = STAGE_BODY;
    return write_some(conn);
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
    conn->stage = STAGE_ANSWERING;
    conn->output.len = conn->sent = 0; /* of a 100 that has left */
    if (rewatch(conn, 0))
        conn->web->handler(conn->web->arg, request);
}

/* Takes from the input what is whole. */
static void take_input(struct web_conn *conn)
{
    struct http_fault fault;

    if (conn->stage == STAGE_HEAD && conn->input.len) {
        switch (
            http_parse(&conn->parser, conn->input.data, conn->input.len, &conn->head_len, &fault)) {
        case HTTP_MORE:
            return;
        case HTTP_BROKEN:
            conn->head_len = conn->body_len = 0;
            conn->request.method = SLICE("");
            refuse(conn, &fault);
            return;
        case HTTP_WHOLE:
            if (!head_came(conn))
                return;
        }
    }
    if (conn->stage == STAGE_BODY && conn->input.len >= conn->head_len + conn->body_len)
        body_came(conn);
}

/* ---- the loop ---- */

static void throw_away(struct web_conn *conn)
{
    char bytes[4096];
    ssize_t n = recv(conn->fd, bytes, sizeof bytes, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        close_conn(conn);
}

static void read_on(struct web_conn *conn)
{
    ssize_t n;

    if (buf_reserve(&conn->input, READ_STEP)) {
        close_conn(conn);
        return;
    }
    do
        n = recv(conn->fd, conn->input.data + conn->input.len, READ_STEP, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n <= 0) {
        close_conn(conn);
        return;
    }
    conn->input.len += (size_t)n;
    take_input(conn);
}

static void on_ready(void *arg, int fd, unsigned events)
{
    struct web_conn *conn = arg;

    (void)fd;
    if (conn->stage == STAGE_WRITING || conn->stage == STAGE_LAST) {
        if (events & LOOP_WRITE)
            answer_leaves(conn);
    } else if (conn->stage == STAGE_LINGER) {
        throw_away(conn);
    } else if (events & LOOP_READ) {
        read_on(conn);
    }
}

static void begin_conn(struct door *door, int fd)
{
    struct web *web = door->web;
    struct web_conn *conn = calloc(1, sizeof *conn);

    if (!conn) {
        close(fd);
        return;
    }
    conn->web = web;
    conn->fd = fd;
    conn->request = (struct web_request){ .conn = conn, .is_local = door->is_local };
    buf_init(&conn->input, HEAD_MAX + web->settings.body_max + 2 * (size_t)READ_STEP);
    buf_init(&conn->output, ANSWER_HEAD_MAX + ANSWER_BODY_MAX);
    http_parser_init(&conn->parser, HEAD_MAX);
    if (loop_watch(web->loop, &conn->watch, fd, LOOP_READ, on_ready, conn)) {
        close(fd);
        free(conn);
        return;
    }
    TAILQ_INSERT_TAIL(&web->conns, conn, link);
    extend_time(conn);
    if (++web->count >= web->settings.connections_max) {
        web->is_full = true; /* the others wait in the kernel */
        watch_doors(web);
    }
}

static void on_acceptable(void *arg, int door_fd, unsigned events)
{
    struct door *door = arg;
    int on = 1;

    (void)events;
    for (int i = 0; i < ACCEPT_BATCH && !door->web->is_full; i++) {
        int fd = accept4(door_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (!door->is_local)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        begin_conn(door, fd);
    }
}

void web_turn(struct web *web)
{
    struct web_conn *conn, *next;

    if (!web->unread)
        return;
    web->unread = false;
    for (conn = TAILQ_FIRST(&web->conns); conn; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if (!conn->is_unread || conn->gone)
            continue;
        conn->is_unread = false;
        if (conn->stage == STAGE_HEAD)
            take_input(conn);
    }
    if (web->unread)
        loop_again(web->loop);
}

void web_tick(struct web *web)
{
    uint64_t now_ms = loop_now_ms(web->loop);
    struct web_conn *conn, *next;

    for (conn = TAILQ_FIRST(&web->conns); conn; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if (!conn->gone && conn->stage != STAGE_ANSWERING && now_ms >= conn->due_ms)
            close_conn(conn);
    }
}

/* ---- life ---- */

struct web *web_new(struct loop *loop, const struct web_door *doors, size_t door_count,
                    const struct web_settings *settings, web_handler handler, void *arg)
{
    struct web *web = calloc(1, sizeof *web + door_count * sizeof web->doors[0]);

    if (!web)
        return NULL;
    web->loop = loop;
    web->settings = *settings;
    web->handler = handler;
    web->arg = arg;
    TAILQ_INIT(&web->conns);
    for (; web->door_count < door_count; web->door_count++) {
        struct door *door = &web->doors[web->door_count];
        door->web = web;
        door->fd = doors[web->door_count].fd;
        door->is_local = doors[web->door_count].is_local;
        if (loop_watch(loop, &door->watch, door->fd, 0, on_acceptable, door)) {
            web_free(web);
            return NULL;
        }
    }
    return web;
}

void web_open(struct web *web)
{
    web->is_open = true;
    watch_doors(web);
}

void web_free(struct web *web)
{
    struct web_conn *conn;

    if (!web)
        return;
    for (size_t i = 0; i < web->door_count; i++)
        loop_unwatch(&web->doors[i].watch);
    web->door_count = 0;
    while ((conn = TAILQ_FIRST(&web->conns))) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see what TAILQ_REMOVE does */
        conn->stage = STAGE_LAST;
        close_conn(conn);
    }
    free(web);
}

void web_configure(struct web *web, const struct web_settings *settings)
{
    web->settings = *settings;
    web->is_full = web->count >= settings->connections_max;
    watch_doors(web);
}

uint32_t web_leave(struct web *web)
{
    struct web_conn *conn;
    uint32_t busy = 0;

    web->leaving = true;
    watch_doors(web);
    TAILQ_FOREACH(conn, &web->conns, link)
    busy += conn->stage != STAGE_HEAD || conn->input.len > 0;
    return busy;
}
