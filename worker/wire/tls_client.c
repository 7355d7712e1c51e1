#include "worker/wire/tls_client.h"

#include "worker/wire/tls_parts.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls_client {
    SSL_CTX *context;
    char *server;
};

static BIO *memory(struct slice pem)
{
    return BIO_new_mem_buf(pem.data, (int)pem.len);
}

/* Each certificate of the text is an issuer that is trusted. */
static bool trust_issuers(SSL_CTX *context, struct slice pem)
{
    BIO *bio = memory(pem);
    X509 *issuer;
    size_t count = 0;
    bool good = bio != NULL;

    while (good && (issuer = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL))) {
        good = X509_STORE_add_cert(SSL_CTX_get_cert_store(context), issuer) == 1;
        X509_free(issuer);
        count += good;
    }
    BIO_free(bio);
    ERR_clear_error();
    return good && count;
}

static bool show_chain(SSL_CTX *context, struct slice pem)
{
    BIO *bio = memory(pem);
    X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL) : NULL, *other;
    bool good = leaf && SSL_CTX_use_certificate(context, leaf) == 1;

    while (good && (other = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL)))
        if (SSL_CTX_add0_chain_cert(context, other) != 1) {
            X509_free(other);
            good = false;
        }
    X509_free(leaf);
    BIO_free(bio);
    ERR_clear_error();
    return good;
}

static bool use_key(SSL_CTX *context, struct slice pem)
{
    BIO *bio = memory(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, NULL) : NULL;
    bool good = key && SSL_CTX_use_PrivateKey(context, key) == 1;

    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    return good;
}

/* Returns NULL, or what is wrong. */
static const char *context_fill(SSL_CTX *context, const struct tls_client_options *options)
{
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        return "no memory";
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY); /* as on the server's side */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (options->issuers.len && !trust_issuers(context, options->issuers))
        return "the file of issuers has no certificate in PEM";
    if (!options->issuers.len && SSL_CTX_set_default_verify_paths(context) != 1)
        return "no memory";
    if (options->chain.len && !show_chain(context, options->chain))
        return "the certificate file has no certificate in PEM, or a weak one";
    if (options->key.len && !use_key(context, options->key))
        return "the key file has no private key in PEM without a passphrase that is the "
               "certificate's";
    return NULL;
}

struct tls_client *tls_client_new(const struct tls_client_options *options, char *why,
                                  size_t why_size)
{
    struct tls_client *client = calloc(1, sizeof *client);
    const char *wrong = "no memory";

    if (client) {
        client->context = SSL_CTX_new(TLS_client_method());
        client->server = strdup(options->server);
        if (client->context && client->server)
            wrong = context_fill(client->context, options);
    }
    if (!wrong)
        return client;
    snprintf(why, why_size, "%s", wrong);
    ERR_clear_error();
    tls_client_free(client);
    return NULL;
}

void tls_client_free(struct tls_client *client)
{
    if (!client)
        return;
    SSL_CTX_free(client->context);
    free(client->server);
    free(client);
}

/* An address is compared with the addresses of the certificate and is not sent as a server name
 * (RFC 6066 3). */
static bool name_server(SSL *ssl, const char *server)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server) == 1)
        return true;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, server) == 1 && SSL_set_tlsext_host_name(ssl, server) == 1;
}

struct tls *tls_connect(const struct tls_client *client, int fd)
{
    struct tls *tls = tls_begin(client->context, fd);

    if (!tls)
        return NULL;
    if (!name_server(tls_ssl(tls), client->server)) {
        ERR_clear_error();
        tls_free(tls);
        return NULL;
    }
    ERR_clear_error(); /* of the question whether the name is an address */
    SSL_set_connect_state(tls_ssl(tls));
    return tls;
}

const char *tls_client_fault(const struct tls *tls, char *text, size_t size)
{
    SSL *ssl = tls_ssl(tls);
    long verdict = SSL_get_verify_result(ssl);
    const char *reason = NULL;

    if (tls_reason(tls))
        reason = ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, tls_reason(tls)));
    if (verdict != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        reason = X509_verify_cert_error_string(verdict);
    else if (tls_fault(tls) == TLS_FAULT_CUT)
        reason = "closed by the other side";
    snprintf(text, size, "%s", reason ? reason : "");
    return text;
}
