/*
 * Certificates and a client of TLS for the programs in tests/ that are written in C: the client is
 * OpenSSL's own, with its bytes in memory, so that a test can cut and bend them.
 */
#ifndef TESTS_UNIT_TLS_FIXTURE_H
#define TESTS_UNIT_TLS_FIXTURE_H

#include "worker/wire/tls.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* A pair whose texts the caller frees by pair_fini. */
struct made_pair {
    char *cert, *key;
    struct tls_pair pair;
};

static inline char *text_of(BIO *bio)
{
    char *data, *text;
    long len = BIO_get_mem_data(bio, &data);

    text = len > 0 ? strndup(data, (size_t)len) : NULL;
    BIO_free(bio);
    return text;
}

static inline void name_add(X509 *cert, const char *name)
{
    char value[300];
    X509_EXTENSION *extension;

    snprintf(value, sizeof value, "DNS:%s", name);
    extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, value);
    if (!extension || !X509_add_ext(cert, extension, -1))
        abort();
    X509_EXTENSION_free(extension);
}

/* An EC certificate of its own issuer for one DNS name, good from yesterday for `days` days. */
static inline void pair_make(struct made_pair *made, const char *name, int days)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    BIO *cert_out = BIO_new(BIO_s_mem()), *key_out = BIO_new(BIO_s_mem());
    X509_NAME *subject;

    if (!key || !cert || !cert_out || !key_out)
        abort();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1 + rand());
    X509_gmtime_adj(X509_getm_notBefore(cert), -24 * 3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * 24 * 3600);
    X509_set_pubkey(cert, key);
    subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)"made", -1, -1,
                               0);
    X509_set_issuer_name(cert, subject);
    name_add(cert, name);
    if (!X509_sign(cert, key, EVP_sha256()) || !PEM_write_bio_X509(cert_out, cert) ||
        !PEM_write_bio_PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL))
        abort();
    made->cert = text_of(cert_out);
    made->key = text_of(key_out);
    made->pair = (struct tls_pair){ slice_of(made->cert), slice_of(made->key) };
    X509_free(cert);
    EVP_PKEY_free(key);
}

static inline void pair_fini(struct made_pair *made)
{
    free(made->cert);
    free(made->key);
}

/* ---- a client ---- */

static inline SSL_CTX *client_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context)
        abort();
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    return context;
}

/* A client whose bytes lie in memory. */
static inline SSL *client_new(SSL_CTX *context)
{
    SSL *ssl = SSL_new(context);

    if (!ssl)
        abort();
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
    SSL_set_connect_state(ssl);
    return ssl;
}

#endif
