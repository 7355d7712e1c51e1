/* What the files of TLS share; no other file includes this header. */
#ifndef WORKER_TLS_PARTS_H
#define WORKER_TLS_PARTS_H

#include "common/buf.h"
#include "worker/wire/tls.h"

#include <openssl/ssl.h>

struct tls_server {
    const struct tickets *tickets;
    size_t holders; /* the owner, and each handshake under way */
    size_t count;
    struct {
        SSL_CTX *context;
        X509 *leaf; /* its names choose the context */
    } pairs[];
};

struct tls {
    SSL *ssl;
    struct tls_server *server; /* NULL after the handshake */
    struct buf backlog;  /* bytes that the socket has not taken; no memory when there are none */
    size_t backlog_sent; /* bytes of backlog that have left since */
    uint16_t reason;     /* OpenSSL's, of the fault; 0: none */
    uint8_t fault;       /* enum tls_fault */
    bool may_leave, broken, resumed, ended;
};

/* ---- tls_pair.c ---- */

/* Returns a context for the pair, and the certificate in *leaf, both the caller's; NULL with the
 * reason. */
SSL_CTX *tls_context_of_pair(const struct tls_pair *pair, X509 **leaf, char *why, size_t why_size);

/* ---- tls_server.c ---- */

/* A holder of the server goes; the last one frees it. NULL is allowed. */
void tls_server_drop(struct tls_server *server);

/* ---- tls_fault.c ---- */

/* What kind of fault OpenSSL's reason is; 0: the library lacks memory. */
enum tls_fault tls_fault_of_reason(unsigned reason);

/* ---- tls.c ---- */

/* A connection of the context on fd, without a side yet. NULL: out of memory. */
struct tls *tls_begin(SSL_CTX *context, int fd);
SSL *tls_ssl(const struct tls *tls);
/* OpenSSL's reason (ERR_GET_REASON of its library for TLS) of the fault that broke the connection;
 * 0: none is known. */
unsigned tls_reason(const struct tls *tls);
/* For private keys that must not ask at the terminal. */
int tls_no_passphrase(char *to, int size, int writing, void *arg);

#endif
