/*
 * The seam between TLS and a connection: any stream of frames, in records of odd sizes, on a wire
 * that is cut anywhere, must give the messages and the answers that the same stream gives in plain
 * text. A bent byte of the wire ends the connection: the messages before that are a beginning of
 * the same messages.
 *
 * The first eight bytes are the sizes of records and of pieces of the wire (0 stands for 4096); the
 * ninth chooses whether, and where, a byte is bent; the rest is the stream.
 */
#include "tests/unit/tls_fixture.h"

#include "common/buf.h"
#include "worker/wire/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZES = 8, HEAD = SIZES + 1, STREAM_MAX = 20000, MESSAGE_MAX = 3000, TURNS_MAX = 100000 };

static struct loop *loop;
static struct conn_host host;
static struct tls_server *server;
static SSL_CTX *clients;
static unsigned turns_left;

/* A connection, the messages it has heard and the answers it has got. */
struct talk {
    struct conn conn; /* first: callbacks get the talk by a cast */
    struct buf heard, answers;
    int fd; /* the client's end */
    SSL *client;
    bool gone, stayed; /* stayed: open when all had arrived */
};

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void on_message(struct conn *conn, enum ws_opcode opcode, struct slice payload)
{
    struct talk *talk = (struct talk *)conn;

    buf_addf(&talk->heard, "%d:%zu:", (int)opcode, payload.len);
    buf_add_slice(&talk->heard, payload);
    must(conn_answer(conn, opcode, payload) == OK);
}

static void on_ignored(struct conn *conn)
{
    (void)conn;
}

static void on_gone(struct conn *conn)
{
    ((struct talk *)conn)->gone = true;
}

static void on_turn_end(void *arg)
{
    (void)arg;
    conn_host_flush(&host);
    if (--turns_left == 0)
        loop_stop(loop);
    else
        loop_again(loop);
}

static void turn(void)
{
    turns_left = 1;
    loop_again(loop);
    loop_run(loop);
}

static void start_once(void)
{
    static const struct conn_calls calls = {
        .message = on_message, .deadline = on_ignored, .closing = on_ignored, .gone = on_gone
    };
    struct made_pair made;

    if (loop)
        return;
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    conn_host_init(&host, loop, NULL, &calls, NULL);
    host.message_bytes_max = MESSAGE_MAX;
    host.queue_bytes_max = 1 << 20;
    host.answer_bytes_max = 2000; /* so that reading pauses while TLS holds bytes */
    host.ping_ms = host.pong_ms = host.slow_ms = host.close_ms = 1 << 30;
    loop_add_hook(loop, on_turn_end, NULL);
    pair_make(&made, "localhost", 1);
    server = tls_server_new(&made.pair, 1, NULL);
    must(server != NULL);
    pair_fini(&made);
    clients = client_context();
}

/* ---- the wire ---- */

static size_t size_at(const uint8_t *sizes, size_t i)
{
    return sizes[i % SIZES] ? sizes[i % SIZES] : 4096;
}

static void take_wire(struct talk *talk)
{
    uint8_t bytes[4096];
    ssize_t n;

    while ((n = recv(talk->fd, bytes, sizeof bytes, 0)) > 0) {
        if (talk->client)
            BIO_write(SSL_get_rbio(talk->client), bytes, (int)n);
        else
            buf_add(&talk->answers, bytes, (size_t)n);
    }
    if (!talk->client)
        return;
    while (SSL_is_init_finished(talk->client) &&
           (n = SSL_read(talk->client, bytes, sizeof bytes)) > 0)
        buf_add(&talk->answers, bytes, (size_t)n);
}

/* Gives bytes to the server as its socket takes them. */
static void push(struct talk *talk, const uint8_t *bytes, size_t len)
{
    for (int i = 0; len && !talk->gone && i < TURNS_MAX; i++) {
        ssize_t n = send(talk->fd, bytes, len, MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN) {
            return;
        }
        turn();
        take_wire(talk);
    }
}

static void shake_hands(struct talk *talk, struct tls *tls)
{
    enum tls_step step = TLS_WANTS_READ;
    uint8_t bytes[4096];
    int n;

    while (step != TLS_READY || !SSL_is_init_finished(talk->client)) {
        SSL_do_handshake(talk->client);
        while ((n = BIO_read(SSL_get_wbio(talk->client), bytes, sizeof bytes)) > 0)
            must(send(talk->fd, bytes, (size_t)n, MSG_NOSIGNAL) == n);
        step = tls_handshake(tls, true);
        must(step == TLS_READY || step == TLS_WANTS_READ);
        while ((n = (int)recv(talk->fd, bytes, sizeof bytes, 0)) > 0)
            BIO_write(SSL_get_rbio(talk->client), bytes, n);
    }
}

static void begin(struct talk *talk, bool secure)
{
    struct tls *tls = NULL;
    int fds[2], small = 4096;

    *talk = (struct talk){ 0 };
    buf_init(&talk->heard, 1 << 20);
    buf_init(&talk->answers, 1 << 20);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    talk->fd = fds[1];
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    if (secure) {
        talk->client = client_new(clients);
        tls = tls_accept(server, fds[0]);
        must(tls != NULL);
        shake_hands(talk, tls);
    }
    must(conn_start(&talk->conn, &host, fds[0], tls) == OK);
}

/* Lets everything arrive, and ends the connection. */
static void finish(struct talk *talk)
{
    for (int idle = 0; idle < 3 && !talk->gone;) {
        size_t before = talk->answers.len + talk->heard.len;
        turn();
        take_wire(talk);
        idle = talk->answers.len + talk->heard.len == before ? idle + 1 : 0;
    }
    take_wire(talk);
    talk->stayed = !talk->gone && conn_is_open(&talk->conn);
    if (!talk->gone)
        conn_abort(&talk->conn);
    while (!talk->gone)
        turn();
    take_wire(talk);
    close(talk->fd);
    SSL_free(talk->client);
}

static void fini(struct talk *talk)
{
    buf_fini(&talk->heard);
    buf_fini(&talk->answers);
}

/* bend_at: which byte of the wire is bent; SIZE_MAX: none. */
static void send_secure(struct talk *talk, const uint8_t *stream, size_t len, const uint8_t *sizes,
                        size_t bend_at)
{
    uint8_t bytes[4096];
    size_t sent = 0, record = 0, piece = 0;
    int n;

    for (size_t at = 0; at < len; record++) {
        size_t step = size_at(sizes, record) < len - at ? size_at(sizes, record) : len - at;
        if (SSL_write(talk->client, stream + at, (int)step) != (int)step)
            return; /* an alert has come */
        at += step;
        if (record % 3 && at < len) /* several records in one piece of the wire */
            continue;
        while ((n = BIO_read(SSL_get_wbio(talk->client), bytes, (int)size_at(sizes, 7 + piece++))) >
               0) {
            if (bend_at >= sent && bend_at < sent + (size_t)n)
                bytes[bend_at - sent] ^= 0x40;
            sent += (size_t)n;
            push(talk, bytes, (size_t)n);
        }
    }
}

static bool begins_with(const struct buf *whole, const struct buf *part)
{
    return part->len <= whole->len &&
           (part->len == 0 || memcmp(whole->data, part->data, part->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct talk plain, secure;
    const uint8_t *stream = data + HEAD;
    size_t len, bend_at;

    if (size < HEAD || size - HEAD > STREAM_MAX)
        return 0;
    len = size - HEAD;
    bend_at = data[SIZES] ? (size_t)data[SIZES] * (len + 64) / 256 : SIZE_MAX;
    start_once();
    begin(&plain, false);
    push(&plain, stream, len);
    finish(&plain);
    begin(&secure, true);
    send_secure(&secure, stream, len, data, bend_at);
    finish(&secure);
    must(begins_with(&plain.heard, &secure.heard));
    must(data[SIZES] || secure.heard.len == plain.heard.len);
    must(data[SIZES] || secure.stayed == plain.stayed);
    /* A close frame drops the answers that wait: how many do is a matter of time. */
    must(!plain.stayed || begins_with(&plain.answers, &secure.answers));
    must(data[SIZES] || !secure.stayed || secure.answers.len == plain.answers.len);
    fini(&plain);
    fini(&secure);
    return 0;
}
