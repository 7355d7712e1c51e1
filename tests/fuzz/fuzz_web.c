/*
 * Any bytes at the clerk's door: as what comes over a connection, whole or in pieces, or as the
 * body of a request that sends messages. The clerk is the real one, in an office without Redis, so
 * heads, bodies, paths, queries, envelopes and the answers of the router are all reached; also as
 * at an address, where a body is judged by its head and its token. Every answer must begin as HTTP
 * does; a body must be answered exactly once; no session and no batch may stay behind.
 */
#include "tests/unit/office_fixture.h"

#include "common/control.h"
#include "worker/clerk/clerk_parts.h"
#include "worker/reach/nodes.h"

#include <sys/un.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECES_MAX = 32, ROUNDS_MAX = 64, PATIENCE_MS = 61 * 1000, ANSWER_MAX = 64 << 20 };

/* The first byte of an input. */
enum { AS_BODY = 0x80, FROM_AFAR = 0x40, PIECE_MASK = 0x3f };

static struct clerk *clerk;
static int master_fd;
static struct gateway {
    struct sockaddr_un address;
    socklen_t len;
} local, far; /* far: as an address, where a token is asked for */
static struct buf said;

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void turn_clerk(void)
{
    clerk_turn(clerk);
}

static void nodes_ignored(void *arg)
{
    (void)arg;
}

static struct clerk_door open_door(struct gateway *gateway, bool is_local)
{
    struct clerk_door door = { .is_local = is_local };

    door.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    /* The kernel chooses a name that is no path (unix(7), autobind). */
    must(bind(door.fd, (struct sockaddr *)&(struct sockaddr_un){ .sun_family = AF_UNIX },
              sizeof(sa_family_t)) == 0);
    must(listen(door.fd, 16) == 0);
    gateway->len = sizeof gateway->address;
    must(getsockname(door.fd, (struct sockaddr *)&gateway->address, &gateway->len) == 0);
    return door;
}

static void open_clerk(void)
{
    struct clerk_door doors[2];
    int control[2];

    office_turn_stored = turn_clerk;
    office_open("");
    sessions_writer_free(elsewhere); /* there are no sessions of another worker */
    office.nodes = nodes_new(&office, &(struct nodes_events){ nodes_ignored, nodes_ignored, NULL });
    must(office.nodes);
    doors[0] = open_door(&local, true);
    doors[1] = open_door(&far, false);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, control) == 0);
    master_fd = control[0];
    clerk = clerk_new(&office, doors, 2, control[1]);
    must(clerk);
    clerk_open(clerk);
    buf_init(&said, ANSWER_MAX);
}

/* The master's part: answers a question for a reload. */
static void answer_as_master(void)
{
    struct {
        uint32_t len, type;
        struct control_reload order;
    } frame;
    struct {
        struct control_reloaded head;
        char members[sizeof "\"applied\":false" - 1];
    } answer = { .members = "\"applied\":false" };

    while (recv(master_fd, &frame, sizeof frame, 0) == sizeof frame) {
        must(frame.type == CONTROL_RELOAD && frame.order.is_plan <= 1);
        answer.head = (struct control_reloaded){ frame.order.number, frame.order.is_plan };
        clerk_reloaded(clerk, slice_make(&answer, sizeof answer));
    }
}

/* Lets the clerk work, and takes what the clerk says. Returns whether bytes have come. */
static bool go_on(int fd)
{
    size_t before = said.len;
    char bytes[16384];
    ssize_t n;

    turns(2);
    answer_as_master();
    while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        buf_add(&said, bytes, (size_t)n);
    return said.len > before;
}

static void give(int fd, const void *data, size_t size)
{
    const char *at = data;
    unsigned idle = 0;

    while (size && idle < ROUNDS_MAX) {
        ssize_t n = send(fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return; /* the clerk has closed */
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        }
        idle = n > 0 || go_on(fd) ? 0 : idle + 1;
    }
}

static void give_body(int fd, const uint8_t *data, size_t size)
{
    char head[128];
    int len =
        snprintf(head, sizeof head,
                 "POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size);

    give(fd, head, (size_t)len);
    give(fd, data, size);
}

static void give_pieces(int fd, const uint8_t *data, size_t size, size_t piece)
{
    size_t at = 0;

    for (unsigned i = 0; piece && i < PIECES_MAX && at + piece < size; i++, at += piece) {
        give(fd, data + at, piece);
        go_on(fd);
    }
    give(fd, data + at, size - at);
}

static unsigned answers_said(void)
{
    unsigned count = 0;

    for (size_t at = 0; at + 9 <= said.len; at++)
        count += memcmp(said.data + at, "HTTP/1.1 ", 9) == 0;
    return count;
}

/* Waits for what is under way; in the end as long as the clerk itself waits. */
static void settle(int fd)
{
    for (unsigned i = 0; i < ROUNDS_MAX && (go_on(fd) || !LIST_EMPTY(&clerk->batches)); i++)
        ;
    if (clerk->surveys.count || !LIST_EMPTY(&clerk->batches))
        clock_ms += PATIENCE_MS;
    while (go_on(fd))
        ;
    must(clerk->surveys.count == 0 && LIST_EMPTY(&clerk->batches) && !clerk->reload.request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct gateway *gateway;
    int fd;

    if (size == 0)
        return 0;
    if (!clerk)
        open_clerk();
    gateway = data[0] & FROM_AFAR ? &far : &local;
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    must(fd >= 0 && connect(fd, (const struct sockaddr *)&gateway->address, gateway->len) == 0);
    said.len = 0;
    if (data[0] & AS_BODY)
        give_body(fd, data + 1, size - 1);
    else
        give_pieces(fd, data + 1, size - 1, data[0] & PIECE_MASK);
    settle(fd);
    must(said.len == 0 || (said.len > 9 && memcmp(said.data, "HTTP/1.1 ", 9) == 0));
    must(!(data[0] & AS_BODY) || answers_said() >= 1);
    close(fd);
    turns(2);
    must(office.host.open_count == 0);
    return 0;
}
