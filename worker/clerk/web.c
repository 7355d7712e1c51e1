#include "worker/clerk/web.h"

#include "worker/clerk/web_parts.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPT_BATCH = 16 };

/* ---- connections ---- */

static void on_ready(void *arg, int fd, unsigned events)
{
    struct web_conn *conn = arg;

    (void)fd;
    switch (conn->stage) {
    case WEB_GREETING:
        web_greet(conn, false);
        break;
    case WEB_HEAD:
    case WEB_BODY:
        /* No more is read while the input may hold a whole request, or a peer that sends requests
         * faster than they are answered would fill the memory. */
        if (events & LOOP_READ) {
            if (!conn->is_unread && web_read(conn))
                web_take_input(conn);
        } else if (web_write(conn)) { /* TLS has answered by itself */
            web_rewatch_input(conn);
        }
        break;
    case WEB_ANSWERING: /* is not watched */
        break;
    case WEB_WRITING:
    case WEB_LAST:
        if (events & LOOP_WRITE)
            web_answer_leaves(conn);
        break;
    case WEB_LINGER:
        web_throw_away(conn);
        break;
    }
}

static void begin_conn(struct web_entry *entry, int fd)
{
    struct web *web = entry->web;
    bool is_local = entry->door.is_local;
    struct web_conn *conn = calloc(1, sizeof *conn);

    if (conn && entry->door.is_secure) {
        conn->stage = WEB_GREETING;
        conn->tls = web->settings.tls ? tls_accept(web->settings.tls, fd) : NULL;
    } else if (conn) {
        conn->stage = WEB_HEAD;
    }
    if (!conn || (entry->door.is_secure && !conn->tls) ||
        loop_watch(web->loop, &conn->watch, fd, LOOP_READ, on_ready, conn)) {
        tls_free(conn ? conn->tls : NULL);
        close(fd);
        free(conn);
        return;
    }
    conn->web = web;
    conn->fd = fd;
    conn->request = (struct web_request){ .conn = conn, .is_local = is_local };
    buf_init(&conn->input, WEB_HEAD_MAX + web->settings.body_max + 2 * (size_t)WEB_READ_STEP);
    buf_init(&conn->output, WEB_ANSWER_HEAD_MAX + WEB_ANSWER_BODY_MAX);
    http_parser_init(&conn->parser, WEB_HEAD_MAX);
    TAILQ_INSERT_TAIL(&web->conns, conn, link);
    web->local_count += is_local;
    web->far_count += !is_local;
    conn->came_ns = loop_now_ns(web->loop);
    web_extend_time(conn);
    if (conn->tls)
        conn->due_ms = loop_now_ms(web->loop) + (uint64_t)web->settings.handshake_s * 1000;
}

/* ---- doors ---- */

/* Returns the oldest connection at an address that has shown no good token: strangers must not keep
 * out those who may ask. NULL: there is none. */
static struct web_conn *oldest_stranger(const struct web *web)
{
    struct web_conn *conn;

    TAILQ_FOREACH(conn, &web->conns, link)
    if (!conn->request.is_local && !conn->is_known && conn->stage != WEB_ANSWERING)
        return conn;
    return NULL;
}

/* Is there room for one more at this door? Those at unix sockets and those at addresses do not
 * share their room. */
static bool has_room(const struct web_entry *entry)
{
    const struct web *web = entry->web;

    return (entry->door.is_local ? web->local_count : web->far_count) <
           web->settings.connections_max;
}

/* The next ones wait in the kernel. */
static void stop_accepting(struct web_entry *entry)
{
    *(entry->door.is_local ? &entry->web->local_full : &entry->web->far_full) = true;
    web_watch_doors(entry->web);
}

static void on_acceptable(void *arg, int door_fd, unsigned events)
{
    struct web_entry *entry = arg;
    struct web *web = entry->web;
    int on = 1;

    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        bool room = has_room(entry);
        struct web_conn *stranger = room || entry->door.is_local ? NULL : oldest_stranger(web);
        int fd;
        if (!room && !stranger) {
            stop_accepting(entry);
            return;
        }
        fd = accept4(door_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (stranger) {
            stats_add(web->stats, STAT_admin_displaced, 1);
            web_close(stranger);
        }
        if (!entry->door.is_local)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        begin_conn(entry, fd);
    }
}

/* ---- turns ---- */

/* The connection goes on with the step that waited for this turn. `leave`: the private key has not
 * been used in this turn. Returns true when this step has used the key. */
static bool go_on(struct web_conn *conn, bool leave)
{
    bool greets = conn->stage == WEB_GREETING && conn->wants_leave;

    if (greets && leave) {
        web_greet(conn, true);
        return true;
    }
    conn->web->unread |= greets;
    if (conn->is_unread && conn->stage == WEB_HEAD) {
        conn->is_unread = false;
        web_take_input(conn);
    } else if (conn->is_ahead && (conn->stage == WEB_HEAD || conn->stage == WEB_BODY)) {
        if (web_read(conn))
            web_take_input(conn);
    }
    return false;
}

void web_turn(struct web *web)
{
    struct web_conn *conn, *next;
    bool leave = true;

    if (!web->unread)
        return;
    web->unread = false;
    for (conn = TAILQ_FIRST(&web->conns); conn; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if (!conn->gone && go_on(conn, leave))
            leave = false;
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
        if (conn->gone || conn->stage == WEB_ANSWERING || now_ms < conn->due_ms)
            continue;
        if (conn->stage == WEB_GREETING)
            stats_add(web->stats, STAT_tls_failed_late, 1);
        web_close(conn);
    }
    if (web->far_full) { /* one whose request is answered by now may make room */
        web->far_full = false;
        web_watch_doors(web);
    }
}

void web_trust(struct web_request *request)
{
    request->conn->is_known = true;
}

/* ---- life ---- */

struct web *web_new(struct loop *loop, struct stats_row *stats, const struct web_door *doors,
                    size_t door_count, const struct web_settings *settings,
                    const struct web_calls *calls, void *arg)
{
    struct web *web = calloc(1, sizeof *web + door_count * sizeof web->entries[0]);

    if (!web)
        return NULL;
    web->loop = loop;
    web->stats = stats;
    web->settings = *settings;
    web->calls = *calls;
    web->arg = arg;
    TAILQ_INIT(&web->conns);
    for (; web->entry_count < door_count; web->entry_count++) {
        struct web_entry *entry = &web->entries[web->entry_count];
        entry->web = web;
        entry->door = doors[web->entry_count];
        if (loop_watch(loop, &entry->watch, entry->door.fd, 0, on_acceptable, entry)) {
            web_free(web);
            return NULL;
        }
    }
    return web;
}

void web_open(struct web *web)
{
    web->is_open = true;
    web_watch_doors(web);
}

void web_free(struct web *web)
{
    struct web_conn *conn;

    if (!web)
        return;
    for (size_t i = 0; i < web->entry_count; i++)
        loop_unwatch(&web->entries[i].watch);
    web->entry_count = 0;
    while ((conn = TAILQ_FIRST(&web->conns))) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see what TAILQ_REMOVE does */
        conn->stage = WEB_LAST;
        web_close(conn);
    }
    free(web);
}

void web_configure(struct web *web, const struct web_settings *settings)
{
    web->settings = *settings;
    web->local_full = web->far_full = false; /* each door looks anew */
    web_watch_doors(web);
}

uint32_t web_leave(struct web *web)
{
    struct web_conn *conn;
    uint32_t busy = 0;

    web->leaving = true;
    web_watch_doors(web);
    TAILQ_FOREACH(conn, &web->conns, link)
    busy += conn->stage > WEB_HEAD || conn->input.len > 0;
    return busy;
}
