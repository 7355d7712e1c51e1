/*
 * TLS over a socket that does not wait: bytes in and out, as recv and sendmsg give and take them.
 * tls.c is the only file that knows OpenSSL's TLS.
 *
 * The one idea: a plain connection has no struct tls, and a connection with one calls these
 * functions in place of recv and sendmsg. Nothing else of a connection changes.
 *
 * TLS 1.2 and 1.3 alone, Mozilla's intermediate configuration, no compression, no renegotiation, no
 * early data.
 */
#ifndef WORKER_TLS_H
#define WORKER_TLS_H

#include "common/slice.h"
#include "shm/tickets.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* ---- certificates ---- */

/* A certificate chain, the server's own certificate first, and its private key; both PEM, borrowed.
 */
struct tls_pair {
    struct slice chain, key;
};

enum { TLS_NAMES_SIZE = 208 };
struct tls_facts {
    char names[TLS_NAMES_SIZE]; /* DNS names and addresses, or the common name; commas between; "…"
                                   at the end when not all fit */
    int64_t begins_s, ends_s;   /* Unix seconds */
};
/* Can a server present the pair? False, with the reason in why. Neither reads nor keeps anything
 * but the pair. */
bool tls_pair_judge(const struct tls_pair *pair, struct tls_facts *facts, char *why,
                    size_t why_size);

/* ---- the server's side ---- */

/* The part that all connections of a worker share: certificates, ciphers, ticket keys. */
struct tls_server;
/* Returns a server of at least one pair, owned by the caller; the first pair serves clients that
 * name no server, or an unknown one. tickets is borrowed; NULL: no session is resumed. Keeps no
 * reference to the pairs' bytes. NULL: out of memory, or a pair that tls_pair_judge refuses. */
struct tls_server *tls_server_new(const struct tls_pair *pairs, size_t count,
                                  const struct tickets *tickets);
/* Connections that the server has begun go on. NULL is allowed. */
void tls_server_free(struct tls_server *server);

/* ---- a connection ---- */

struct tls;
/* Begins a connection on fd, which stays the caller's. NULL: out of memory. */
struct tls *tls_accept(struct tls_server *server, int fd);
/* Frees the connection; nothing is sent. NULL is allowed. */
void tls_free(struct tls *tls);

enum tls_step {
    TLS_READY,      /* the handshake is over: the functions below may be called */
    TLS_WANTS_READ, /* again when the socket has bytes */
    TLS_WANTS_WRITE,
    TLS_WANTS_LEAVE, /* the client's hello is whole; the answer costs a private-key operation, or a
                        key exchange at least: call again with `leave` */
    TLS_FAILED,      /* tls_fault says why; the alert, if any, has been sent */
};
/* One step of the handshake. `leave`: this call may do the work with the private key. */
enum tls_step tls_handshake(struct tls *tls, bool leave);

enum tls_fault {
    TLS_FAULT_NONE,
    TLS_FAULT_CUT,        /* the peer closed the connection */
    TLS_FAULT_PLAIN_HTTP, /* an HTTP request in plain text: nothing has been sent */
    TLS_FAULT_NOT_TLS,    /* other bytes that are no TLS */
    TLS_FAULT_NO_COMMON,  /* no version, cipher, curve or application protocol in common */
    TLS_FAULT_DISTRUST,   /* the peer does not accept the certificate, and said so */
    TLS_FAULT_BROKEN,     /* any other fault of the protocol */
    TLS_FAULT_OWN,        /* no memory, or a fault of the library */
};
enum tls_fault tls_fault(const struct tls *tls);
/* After TLS_READY: has the client's ticket spared the full handshake? */
bool tls_resumed(const struct tls *tls);

/* As recv: bytes read; 0 at the end, orderly or not; -1 with EAGAIN, or with ECONNRESET when the
 * connection is broken. Reads until `size` bytes are there or the socket has no more. */
ssize_t tls_read(struct tls *tls, void *to, size_t size);
/* Are bytes inside that no event of the socket will announce? Asked after tls_read has filled its
 * room, and before the socket is watched for the first time. */
bool tls_unread(const struct tls *tls);

/* All bytes that TLS has read from the socket so far, its own records included. */
uint64_t tls_taken(const struct tls *tls);

/* As sendmsg: bytes taken, or -1 with EAGAIN, or EPIPE when the connection is broken. Bytes
 * that were taken leave: tls_finish sends on those that the socket has not taken. */
ssize_t tls_write(struct tls *tls, const struct iovec *iov, size_t count);
/* 0: every byte that was taken has left; -1 as tls_write. */
int tls_finish(struct tls *tls);
/* Bytes of TLS that the socket has not taken. */
size_t tls_unsent(const struct tls *tls);
/* Says to the peer that nothing follows (close_notify). False: the socket takes no more now; call
 * again. */
bool tls_end(struct tls *tls);

#endif
