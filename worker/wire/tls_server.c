/*
 * The server's side of TLS: a context for each certificate, the choice among them by the name that
 * a client asks for, the leave that an answer to a hello needs, and session tickets.
 *
 * A server is counted: handshakes under way hold the server that a reload has replaced.
 */
#include "worker/wire/tls_parts.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* ---- session tickets ---- */

static bool ticket_arm(const struct ticket_key *key, EVP_MAC_CTX *mac)
{
    struct ticket_key copy = *key; /* OSSL_PARAM wants bytes that may be written */
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, copy.hmac, sizeof copy.hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    bool armed = EVP_MAC_CTX_set_params(mac, params) == 1;

    OPENSSL_cleanse(&copy, sizeof copy);
    return armed;
}

/* OpenSSL's answers: -1 fault, 0 unknown ticket, 1 good, 2 good and due for a new one. */
static int on_ticket(SSL *ssl, unsigned char name[TICKET_NAME_BYTES], unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int making)
{
    const struct tls *tls = SSL_get_app_data(ssl);
    const struct tickets *tickets = tls->server ? tls->server->tickets : NULL;
    struct ticket_key key;
    bool newest = true, good;

    if (!tickets)
        return making ? -1 : 0;
    if (making) {
        if (!tickets_newest(tickets, &key) || RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
            return -1;
        memcpy(name, key.name, TICKET_NAME_BYTES);
        good = EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;
    } else {
        if (!tickets_find(tickets, name, &key, &newest))
            return 0;
        good = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;
    }
    good = good && ticket_arm(&key, mac);
    OPENSSL_cleanse(&key, sizeof key);
    return !good ? -1 : newest ? 1 : 2;
}

/* ---- the server ---- */

void tls_server_drop(struct tls_server *server)
{
    if (!server || --server->holders)
        return;
    for (size_t i = 0; i < server->count; i++) {
        SSL_CTX_free(server->pairs[i].context);
        X509_free(server->pairs[i].leaf);
    }
    free(server);
}

void tls_server_free(struct tls_server *server)
{
    tls_server_drop(server);
}

/* The first certificate that has the name, else the first that has a wildcard for it (RFC 6125
 * 6.4.3: a whole label on the left). */
static size_t pair_of_name(const struct tls_server *server, const char *name)
{
    static const unsigned int passes[] = { X509_CHECK_FLAG_NO_WILDCARDS,
                                           X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS };

    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < server->count; i++)
            if (X509_check_host(server->pairs[i].leaf, name, 0, passes[pass], NULL) == 1)
                return i;
    return 0;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls *tls = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t i;

    (void)alert;
    (void)arg;
    if (!name || !tls->server)
        return SSL_TLSEXT_ERR_NOACK;
    i = pair_of_name(tls->server, name);
    if (i && !SSL_set_SSL_CTX(ssl, tls->server->pairs[i].context))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

/* Called with each hello of a client, before any work is done for the client. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls *tls = SSL_get_app_data(ssl);

    (void)alert;
    (void)arg;
    if (!tls->may_leave)
        return SSL_CLIENT_HELLO_RETRY;
    tls->may_leave = false;
    return SSL_CLIENT_HELLO_SUCCESS;
}

struct tls_server *tls_server_new(const struct tls_pair *pairs, size_t count,
                                  const struct tickets *tickets)
{
    struct tls_server *server = calloc(1, sizeof *server + count * sizeof server->pairs[0]);
    char why[128];

    assert(count);
    if (!server)
        return NULL;
    server->holders = 1;
    server->tickets = tickets;
    for (size_t i = 0; i < count; i++) {
        SSL_CTX *context = tls_context_of_pair(&pairs[i], &server->pairs[i].leaf, why, sizeof why);
        if (!context) {
            tls_server_drop(server);
            return NULL;
        }
        SSL_CTX_set_client_hello_cb(context, on_client_hello, NULL);
        SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
        server->pairs[i].context = context;
        server->count = i + 1;
    }
    return server;
}
