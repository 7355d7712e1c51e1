#include "worker/clerk/desk.h"

#include "common/buf.h"
#include "worker/entrance/life.h"
#include "worker/router/router.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_STEP = 64 * 1024,
    INPUT_MAX = 80 << 20, /* an answer has at most 68 MiB (postmaster.h) */
    HEAD_SHORT = 2,
    LEN_16 = 126, /* RFC 6455 5.2: the length follows in 2 bytes, in 8 bytes */
    LEN_64 = 127,
};

struct desk {
    struct office *office;
    uint64_t number; /* of the session */
    struct loop_watch watch;
    int fd;
    bool is_watched;
    struct buf input;
    const struct desk_calls *calls;
    void *arg;
};

/* The length of the head and of the payload of an unmasked frame. False: the head is not whole. */
static bool read_head(struct slice input, size_t *head_len, size_t *len)
{
    const uint8_t *bytes = (const uint8_t *)input.data;
    unsigned length_bytes = 0;

    if (input.len < HEAD_SHORT)
        return false;
    *len = bytes[1] & 0x7f;
    length_bytes = *len == LEN_16 ? 2 : *len == LEN_64 ? 8 : 0;
    *head_len = HEAD_SHORT + length_bytes;
    if (input.len < *head_len)
        return false;
    for (unsigned i = 0; i < length_bytes; i++)
        *len = (i ? *len << 8 : 0) | bytes[HEAD_SHORT + i];
    return true;
}

static void end(struct desk *desk)
{
    if (desk->is_watched)
        loop_unwatch(&desk->watch);
    desk->is_watched = false;
    desk->calls->ended(desk->arg);
}

/* Tells of each whole frame. Only text is of interest: pings need no answer, since bytes that the
 * peer's kernel takes are life. */
static void take_frames(struct desk *desk)
{
    size_t at = 0, head_len, len;

    while (read_head(slice_make(desk->input.data + at, desk->input.len - at), &head_len, &len) &&
           desk->input.len - at - head_len >= len) {
        unsigned opcode = (uint8_t)desk->input.data[at] & 0x0f;
        if (opcode == WS_TEXT)
            desk->calls->said(desk->arg, slice_make(desk->input.data + at + head_len, len));
        at += head_len + len;
    }
    buf_drop(&desk->input, at);
}

static void on_readable(void *arg, int fd, unsigned events)
{
    struct desk *desk = arg;
    ssize_t n;

    (void)events;
    if (buf_reserve(&desk->input, READ_STEP)) {
        end(desk);
        return;
    }
    do
        n = recv(fd, desk->input.data + desk->input.len, READ_STEP, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n <= 0) {
        end(desk);
        return;
    }
    desk->input.len += (size_t)n;
    take_frames(desk);
}

/* Makes the session at one end of the pair. */
static bool open_session(struct desk *desk, struct grant *grant, bool is_free)
{
    struct session *session;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
        return false;
    desk->fd = ends[0];
    session = life_open_desk(desk->office, ends[1], grant, is_free);
    if (!session)
        return false;
    desk->number = session->number;
    desk->is_watched =
        loop_watch(desk->office->loop, &desk->watch, desk->fd, LOOP_READ, on_readable, desk) == OK;
    return desk->is_watched;
}

struct desk *desk_open(struct office *office, struct grant *grant, bool is_free,
                       const struct desk_calls *calls, void *arg)
{
    struct desk *desk = calloc(1, sizeof *desk);

    if (!desk)
        return NULL;
    desk->office = office;
    desk->calls = calls;
    desk->arg = arg;
    desk->fd = -1;
    buf_init(&desk->input, INPUT_MAX);
    if (open_session(desk, grant, is_free))
        return desk;
    desk_close(desk);
    return NULL;
}

static struct session *session_of_desk(const struct desk *desk)
{
    return session_open_by_number(desk->office, desk->number);
}

void desk_close(struct desk *desk)
{
    struct session *session;

    if (!desk)
        return;
    session = session_of_desk(desk);
    if (session)
        conn_abort(&session->conn);
    if (desk->is_watched)
        loop_unwatch(&desk->watch);
    if (desk->fd >= 0)
        close(desk->fd);
    buf_fini(&desk->input);
    free(desk);
}

bool desk_send(struct desk *desk, struct slice envelope, bool *answered)
{
    struct session *session = session_of_desk(desk);
    uint64_t waiting;

    if (!session)
        return false;
    waiting = conn_waiting(&session->conn);
    router_message(&session->conn, WS_TEXT, envelope);
    session = session_of_desk(desk);
    *answered = session && conn_waiting(&session->conn) > waiting;
    return session != NULL;
}

bool desk_may_send(const struct desk *desk)
{
    const struct session *session = session_of_desk(desk);

    return session && !session->stalled && !session->errands_held;
}
