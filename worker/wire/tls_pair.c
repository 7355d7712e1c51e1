/*
 * A certificate and its private key: whether a server can present them, the context that presents
 * them, and what the certificate says of itself.
 *
 * Every context has the same settings (Mozilla's "intermediate"), so that a client whose name
 * chooses another certificate notices nothing else.
 */
#include "worker/wire/tls_parts.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SECURITY_LEVEL = 2 }; /* RSA of 2,048 bits, EC of 224, no SHA-1 in signatures */

/* Mozilla's "intermediate", without its suites of finite-field Diffie-Hellman: every client that
 * has these has ECDHE too, and an exponentiation costs a server many times what it costs a client.
 */
static const char ciphers_12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                 "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                 "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char ciphers_13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";

/* Sessions of all certificates are of one context, or OpenSSL would refuse to resume them. */
static const uint8_t session_context[] = "PostOffice";

__attribute__((format(printf, 3, 4))) static bool pair_refused(char *why, size_t why_size,
                                                               const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, why_size, format, args);
    va_end(args);
    ERR_clear_error();
    return false;
}

/* Without this callback OpenSSL would ask at the terminal. */
int tls_no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* Reads the server's own certificate and those behind it. NULL, with the reason. */
static X509 *chain_read(struct slice pem, STACK_OF(X509) * others, char *why, size_t why_size)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL) : NULL, *other;
    bool good = leaf != NULL;

    while (good && (other = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL)))
        if (!sk_X509_push(others, other)) {
            X509_free(other);
            good = false;
        }
    if (good && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        good = false; /* a certificate further down cannot be read */
    BIO_free(bio);
    if (good) {
        ERR_clear_error();
        return leaf;
    }
    pair_refused(why, why_size,
                 leaf ? "the certificate file has a certificate that cannot be read"
                      : "the certificate file has no certificate in PEM");
    X509_free(leaf);
    return NULL;
}

static EVP_PKEY *key_read(struct slice pem, char *why, size_t why_size)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, NULL) : NULL;

    BIO_free(bio);
    if (!key)
        pair_refused(why, why_size, "the key file has no private key in PEM without a passphrase");
    return key;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    /* A client that names protocols and not this one must be refused (RFC 7301 3.2). */
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A context with all settings and without a certificate. */
static SSL_CTX *context_bare(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context)
        return NULL;
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    SSL_CTX_set_options(context,
                        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_ENABLE_KTLS);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    /* Or a peer that sends records without data, as fast as they are read, would keep SSL_read
     * busy for ever. */
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(context, 1); /* one recv for the head of a record and its bytes */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1); /* a client makes one connection with the next ticket */
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) &&
        SSL_CTX_set_cipher_list(context, ciphers_12) &&
        SSL_CTX_set_ciphersuites(context, ciphers_13) &&
        SSL_CTX_set1_groups_list(context, groups) &&
        SSL_CTX_set_session_id_context(context, session_context, sizeof session_context - 1))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

static SSL_CTX *context_with(X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * others, char *why,
                             size_t why_size)
{
    SSL_CTX *context = NULL;

    if (X509_check_private_key(leaf, key) != 1)
        pair_refused(why, why_size, "the private key is not the key of the certificate");
    else if (!(context = context_bare()))
        pair_refused(why, why_size, "no memory");
    else if (SSL_CTX_use_cert_and_key(context, leaf, key, others, 1) != 1) {
        pair_refused(why, why_size,
                     "the certificate is too weak: RSA needs 2,048 bits, EC 224, and SHA-1 signs "
                     "nothing any more");
        SSL_CTX_free(context);
        context = NULL;
    }
    return context;
}

SSL_CTX *tls_context_of_pair(const struct tls_pair *pair, X509 **leaf, char *why, size_t why_size)
{
    STACK_OF(X509) *others = sk_X509_new_null();
    EVP_PKEY *key = NULL;
    SSL_CTX *context = NULL;

    *leaf = NULL;
    if (!others)
        pair_refused(why, why_size, "no memory");
    else if ((*leaf = chain_read(pair->chain, others, why, why_size)) &&
             (key = key_read(pair->key, why, why_size)))
        context = context_with(*leaf, key, others, why, why_size);
    EVP_PKEY_free(key);
    sk_X509_pop_free(others, X509_free);
    if (!context) {
        X509_free(*leaf);
        *leaf = NULL;
    }
    return context;
}

/* ---- what a certificate says ---- */

static int64_t unix_seconds(const ASN1_TIME *time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void add_name(struct tls_facts *facts, const char *name, size_t len)
{
    static const char more[] = "\xe2\x80\xa6";
    size_t used = strlen(facts->names), comma = used > 0;

    if (used >= sizeof more - 1 && strcmp(facts->names + used - (sizeof more - 1), more) == 0)
        return;
    if (used + comma + len + sizeof more > sizeof facts->names) {
        snprintf(facts->names + used, sizeof facts->names - used, "%s", more);
        return;
    }
    if (comma)
        facts->names[used++] = ',';
    for (size_t i = 0; i < len; i++) {
        bool shown = name[i] > 0x20 && name[i] < 0x7f; /* the names go to a terminal */
        char c = '?';
        if (shown)
            c = name[i];
        facts->names[used++] = c;
    }
    facts->names[used] = 0;
}

static void add_address(struct tls_facts *facts, const ASN1_OCTET_STRING *address)
{
    const unsigned char *b = ASN1_STRING_get0_data(address);
    char text[40];
    int len = 0;

    if (ASN1_STRING_length(address) == 4)
        len = snprintf(text, sizeof text, "%d.%d.%d.%d", b[0], b[1], b[2], b[3]);
    for (int i = 0; ASN1_STRING_length(address) == 16 && i < 16; i += 2)
        len += snprintf(text + len, sizeof text - (size_t)len, "%s%x", i ? ":" : "",
                        b[i] << 8 | b[i + 1]);
    add_name(facts, text, (size_t)len);
}

static void add_common_name(struct tls_facts *facts, X509 *leaf)
{
    char text[256] = "";
    int len =
        X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, text, sizeof text);

    if (len > 0)
        add_name(facts, text, (size_t)len);
}

static void facts_read(X509 *leaf, struct tls_facts *facts)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);

    *facts = (struct tls_facts){ .begins_s = unix_seconds(X509_get0_notBefore(leaf)),
                                 .ends_s = unix_seconds(X509_get0_notAfter(leaf)) };
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            add_name(facts, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                     (size_t)ASN1_STRING_length(name->d.dNSName));
        else if (name->type == GEN_IPADD)
            add_address(facts, name->d.iPAddress);
    }
    GENERAL_NAMES_free(names);
    if (!facts->names[0])
        add_common_name(facts, leaf);
    ERR_clear_error();
}

bool tls_pair_judge(const struct tls_pair *pair, struct tls_facts *facts, char *why,
                    size_t why_size)
{
    X509 *leaf;
    SSL_CTX *context = tls_context_of_pair(pair, &leaf, why, why_size);

    if (!context)
        return false;
    facts_read(leaf, facts);
    X509_free(leaf);
    SSL_CTX_free(context);
    return true;
}
