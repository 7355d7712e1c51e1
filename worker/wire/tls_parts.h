/* What tls_client.c needs of tls.c; no other file includes this header. */
#ifndef WORKER_TLS_PARTS_H
#define WORKER_TLS_PARTS_H

#include "worker/wire/tls.h"

#include <openssl/ssl.h>

/* A connection of the context on fd, without a side yet. NULL: out of memory. */
struct tls *tls_begin(SSL_CTX *context, int fd);
SSL *tls_ssl(const struct tls *tls);
/* OpenSSL's reason (ERR_GET_REASON of its library for TLS) of the fault that broke the connection;
 * 0: none is known. */
unsigned tls_reason(const struct tls *tls);
/* For private keys that must not ask at the terminal. */
int tls_no_passphrase(char *to, int size, int writing, void *arg);

#endif
