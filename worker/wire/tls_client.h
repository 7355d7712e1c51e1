/*
 * The client's side of TLS: whom a connection trusts, and with which certificate it shows itself.
 * What follows the handshake is tls.h, as for a server.
 *
 * Verification is the rule: a chain to the given issuers, or to those of the system, and the name
 * of the server.
 */
#ifndef WORKER_TLS_CLIENT_H
#define WORKER_TLS_CLIENT_H

#include "worker/wire/tls.h"

struct tls_client;

/* All texts are PEM, borrowed for the call. */
struct tls_client_options {
    struct slice issuers;    /* empty: the system's */
    struct slice chain, key; /* of a certificate of our own; empty: none */
    const char *server;      /* the name, or the address, that the server's certificate must have */
    bool verify;             /* false: any certificate will do */
};
/* Owned by the caller; NULL, with the reason in why: something is not PEM, the key is not the
 * certificate's, or memory is out. */
struct tls_client *tls_client_new(const struct tls_client_options *options, char *why,
                                  size_t why_size);
void tls_client_free(struct tls_client *client); /* NULL is allowed */

/* Begins a connection on fd, which stays the caller's; tls_handshake goes on. NULL: out of
 * memory. */
struct tls *tls_connect(const struct tls_client *client, int fd);
/* Writes why the connection has failed, for a person; "" when nothing is known. Returns text. */
const char *tls_client_fault(const struct tls *tls, char *text, size_t size);

#endif
