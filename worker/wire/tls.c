/*
 * A connection over TLS: its handshake, its bytes, its end. Certificates are in tls_pair.c, what a
 * server answers to a hello is in tls_server.c.
 */
#include "worker/wire/tls_parts.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_MAX = 16 * 1024,  /* plain bytes of a record (RFC 8446 5.1) */
    BACKLOG_MAX = 64 * 1024, /* a record, and answers of TLS itself */
};

/* The bytes of one record on their way into OpenSSL. One buffer for all connections: a worker is
 * one thread, and no bytes stay behind after a call. */
static uint8_t gathered[RECORD_MAX];

/* The reason of the newest error in OpenSSL's queue, which is emptied: an error that stays would be
 * taken for an error of the next connection. */
static unsigned take_reason(void)
{
    unsigned long error = ERR_peek_last_error();

    ERR_clear_error();
    return ERR_GET_LIB(error) == ERR_LIB_SSL ? (unsigned)ERR_GET_REASON(error) : 0;
}

/* ---- bytes to the socket ---- */

/* OpenSSL never learns that the socket is full: bytes that the socket does not take wait in the
 * backlog.
 * A record that OpenSSL itself kept would have to be given to it again byte by byte, and would make
 * an answer to a key update an error (RFC 8446 4.6.3: the answer may be due while a write is
 * blocked). */
static int backlog_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    struct tls *tls = BIO_get_data(bio);
    size_t sent = 0;

    if (tls->backlog.len == 0 && !BIO_write_ex(BIO_next(bio), data, len, &sent)) {
        if (!BIO_should_retry(BIO_next(bio)))
            return 0;
        sent = 0;
    }
    if (sent < len && buf_add(&tls->backlog, data + sent, len - sent))
        return 0; /* no memory, or a peer that asks for answers and reads none */
    *written = len;
    return 1;
}

static long backlog_control(BIO *bio, int command, long number, void *pointer)
{
    return BIO_ctrl(BIO_next(bio), command, number, pointer); /* kTLS is a matter of the socket */
}

static int backlog_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

/* Once a process. */
static BIO_METHOD *backlog_method(void)
{
    static BIO_METHOD *method;

    if (method)
        return method;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "backlog");
    if (method && BIO_meth_set_write_ex(method, backlog_write) &&
        BIO_meth_set_ctrl(method, backlog_control) && BIO_meth_set_create(method, backlog_create))
        return method;
    BIO_meth_free(method);
    return method = NULL;
}

/* Reads straight from the socket, writes through the backlog. */
static bool attach_socket(struct tls *tls, int fd)
{
    BIO_METHOD *method = backlog_method();
    BIO *in = BIO_new_socket(fd, BIO_NOCLOSE), *out = method ? BIO_new(method) : NULL;

    if (!in || !out || !BIO_up_ref(in)) {
        BIO_free(in);
        BIO_free(out);
        return false;
    }
    BIO_set_data(out, tls);
    SSL_set_bio(tls->ssl, in, BIO_push(out, in));
    return true;
}

static int write_broken(void)
{
    errno = EPIPE;
    return -1;
}

int tls_finish(struct tls *tls)
{
    BIO *socket = tls->backlog.len ? BIO_next(SSL_get_wbio(tls->ssl)) : NULL;

    if (tls->broken)
        return write_broken();
    while (tls->backlog_sent < tls->backlog.len) {
        size_t n;
        if (BIO_write_ex(socket, tls->backlog.data + tls->backlog_sent,
                         tls->backlog.len - tls->backlog_sent, &n)) {
            tls->backlog_sent += n;
        } else if (BIO_should_retry(socket)) {
            errno = EAGAIN;
            return -1;
        } else {
            tls->broken = true;
            ERR_clear_error();
            return write_broken();
        }
    }
    if (tls->backlog.data)
        buf_fini(&tls->backlog);
    tls->backlog_sent = 0;
    return 0;
}

size_t tls_unsent(const struct tls *tls)
{
    return tls->backlog.len - tls->backlog_sent;
}

/* ---- a connection ---- */

struct tls *tls_begin(SSL_CTX *context, int fd)
{
    struct tls *tls = calloc(1, sizeof *tls);

    if (!tls)
        return NULL;
    buf_init(&tls->backlog, BACKLOG_MAX);
    tls->ssl = SSL_new(context);
    if (!tls->ssl || !attach_socket(tls, fd)) {
        ERR_clear_error();
        SSL_free(tls->ssl);
        free(tls);
        return NULL;
    }
    SSL_set_app_data(tls->ssl, tls);
    return tls;
}

SSL *tls_ssl(const struct tls *tls)
{
    return tls->ssl;
}

unsigned tls_reason(const struct tls *tls)
{
    return tls->reason;
}

struct tls *tls_accept(struct tls_server *server, int fd)
{
    uint32_t lifetime_s = server->tickets ? tickets_lifetime_s(server->tickets) : 0;
    SSL_CTX *context = server->pairs[0].context;
    struct tls *tls;

    SSL_CTX_set_timeout(context, (long)lifetime_s);
    tls = tls_begin(context, fd);
    if (!tls)
        return NULL;
    SSL_set_accept_state(tls->ssl);
    if (lifetime_s == 0) {
        SSL_set_options(tls->ssl, SSL_OP_NO_TICKET);
        SSL_set_num_tickets(tls->ssl, 0);
    }
    tls->server = server;
    server->holders++;
    return tls;
}

static void handshake_over(struct tls *tls)
{
    tls_server_drop(tls->server);
    tls->server = NULL;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    handshake_over(tls);
    SSL_free(tls->ssl);
    buf_fini(&tls->backlog);
    free(tls);
}

static enum tls_step handshake_failed(struct tls *tls, int error)
{
    unsigned reason = take_reason();

    tls->reason = (uint16_t)reason;
    /* SSL_ERROR_SYSCALL: the socket itself has failed. */
    tls->fault =
        (uint8_t)(error == SSL_ERROR_SYSCALL ? TLS_FAULT_CUT : tls_fault_of_reason(reason));
    tls->broken = true;
    handshake_over(tls);
    return TLS_FAILED;
}

enum tls_step tls_handshake(struct tls *tls, bool leave)
{
    int result, error;

    if (tls->broken)
        return TLS_FAILED;
    if (tls_finish(tls) < 0)
        return tls->broken ? handshake_failed(tls, SSL_ERROR_SYSCALL) : TLS_WANTS_WRITE;
    tls->may_leave = leave;
    ERR_clear_error();
    result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        tls->resumed = SSL_session_reused(tls->ssl);
        handshake_over(tls);
        return TLS_READY;
    }
    error = SSL_get_error(tls->ssl, result);
    switch (error) {
    case SSL_ERROR_WANT_READ:
        return tls_unsent(tls) ? TLS_WANTS_WRITE : TLS_WANTS_READ;
    case SSL_ERROR_WANT_CLIENT_HELLO_CB:
        return TLS_WANTS_LEAVE;
    default:
        return handshake_failed(tls, error);
    }
}

enum tls_fault tls_fault(const struct tls *tls)
{
    return (enum tls_fault)tls->fault;
}

bool tls_resumed(const struct tls *tls)
{
    return tls->resumed;
}

/* ---- reading ---- */

/* The last call has failed. Returns what a caller of recv would see. */
static ssize_t read_stopped(struct tls *tls, int error)
{
    switch (error) {
    case SSL_ERROR_WANT_READ:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        tls_end(tls); /* the answer to close_notify; the socket may not take it */
        return 0;
    default:
        tls->broken = true;
        tls->reason = (uint16_t)take_reason();
        errno = ECONNRESET;
        return -1;
    }
}

ssize_t tls_read(struct tls *tls, void *to, size_t size)
{
    size_t total = 0, n;

    if (tls->broken) {
        errno = ECONNRESET;
        return -1;
    }
    ERR_clear_error();
    while (total < size) {
        int result = SSL_read_ex(tls->ssl, (uint8_t *)to + total, size - total, &n);
        if (result != 1) {
            ssize_t stopped = read_stopped(tls, SSL_get_error(tls->ssl, result));
            return total ? (ssize_t)total : stopped;
        }
        total += n;
        if (!SSL_has_pending(tls->ssl)) /* the socket tells when there is more */
            break;
    }
    return (ssize_t)total;
}

bool tls_unread(const struct tls *tls)
{
    return !tls->broken && SSL_has_pending(tls->ssl);
}

uint64_t tls_taken(const struct tls *tls)
{
    return BIO_number_read(SSL_get_rbio(tls->ssl));
}

/* ---- writing ---- */

/* A place in a row of pieces. */
struct pieces {
    const struct iovec *iov;
    size_t count, skip; /* skip: bytes of the first piece that are done with */
};

/* The next bytes, a record at most: where they lie, or gathered. */
static const uint8_t *record_next(struct pieces *at, size_t *len)
{
    size_t used = 0;

    while (at->count && at->iov->iov_len == at->skip)
        *at = (struct pieces){ at->iov + 1, at->count - 1, 0 };
    if (at->count == 1 || (at->count && at->iov->iov_len - at->skip >= RECORD_MAX)) {
        const uint8_t *data = (const uint8_t *)at->iov->iov_base + at->skip;
        size_t left = at->iov->iov_len - at->skip;
        *len = left < RECORD_MAX ? left : RECORD_MAX;
        at->skip += *len;
        return data;
    }
    while (at->count && used < RECORD_MAX) {
        size_t left = at->iov->iov_len - at->skip, room = RECORD_MAX - used;
        size_t n = left < room ? left : room;
        if (n) /* an empty piece may lie nowhere */
            memcpy(gathered + used, (const uint8_t *)at->iov->iov_base + at->skip, n);
        used += n;
        at->skip += n;
        if (at->skip == at->iov->iov_len)
            *at = (struct pieces){ at->iov + 1, at->count - 1, 0 };
    }
    *len = used;
    return gathered;
}

ssize_t tls_write(struct tls *tls, const struct iovec *iov, size_t count)
{
    struct pieces at = { iov, count, 0 };
    const uint8_t *data;
    size_t total = 0, len, n;

    if (tls_finish(tls) < 0)
        return -1;
    ERR_clear_error();
    while (tls_unsent(tls) == 0 && (data = record_next(&at, &len)) && len) {
        if (SSL_write_ex(tls->ssl, data, len, &n) != 1) {
            tls->broken = true;
            ERR_clear_error();
            return write_broken();
        }
        assert(n == len); /* a record leaves whole */
        total += len;
    }
    return (ssize_t)total;
}

bool tls_end(struct tls *tls)
{
    if (tls->broken)
        return true;
    if (!tls->ended) {
        ERR_clear_error();
        SSL_shutdown(tls->ssl); /* another SSL_shutdown would read */
        ERR_clear_error();
        tls->ended = true;
    }
    return tls_finish(tls) == 0 || tls->broken;
}
