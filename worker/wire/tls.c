#include "worker/wire/tls.h"

#include "worker/wire/tls_parts.h"

#include "common/buf.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RECORD_MAX = 16 * 1024,  /* plain bytes of a record (RFC 8446 5.1) */
    BACKLOG_MAX = 64 * 1024, /* a record, and answers of TLS itself */
    SECURITY_LEVEL = 2,      /* RSA of 2,048 bits, EC of 224, no SHA-1 in signatures */
};

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

/* The bytes of one record on their way into OpenSSL. One buffer for all connections: a worker is
 * one thread, and no bytes stay behind after a call. */
static uint8_t gathered[RECORD_MAX];

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

/* ---- errors ---- */

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

/* The reason of the newest error in OpenSSL's queue, which is emptied: an error that stays would be
 * taken for an error of the next connection. */
static unsigned take_reason(void)
{
    unsigned long error = ERR_peek_last_error();

    ERR_clear_error();
    return ERR_GET_LIB(error) == ERR_LIB_SSL ? (unsigned)ERR_GET_REASON(error) : 0;
}

static enum tls_fault fault_of_alert(unsigned alert)
{
    switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
        return TLS_FAULT_DISTRUST;
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_PROTOCOL_VERSION:
    case SSL_AD_INSUFFICIENT_SECURITY:
        return TLS_FAULT_NO_COMMON;
    default:
        return TLS_FAULT_BROKEN;
    }
}

static enum tls_fault fault_of_reason(unsigned reason)
{
    if (reason > SSL_AD_REASON_OFFSET)
        return fault_of_alert(reason - SSL_AD_REASON_OFFSET);
    switch (reason) {
    case 0: /* no error of TLS: the library lacks memory */
    case ERR_R_MALLOC_FAILURE:
    case ERR_R_INTERNAL_ERROR:
        return TLS_FAULT_OWN;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return TLS_FAULT_CUT;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return TLS_FAULT_PLAIN_HTTP;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return TLS_FAULT_NOT_TLS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        return TLS_FAULT_NO_COMMON;
    default:
        return TLS_FAULT_BROKEN;
    }
}

/* ---- a pair ---- */

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

/* Returns a context, and the certificate in *leaf, both the caller's; NULL with the reason. */
static SSL_CTX *context_of_pair(const struct tls_pair *pair, X509 **leaf, char *why,
                                size_t why_size)
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
    SSL_CTX *context = context_of_pair(pair, &leaf, why, why_size);

    if (!context)
        return false;
    facts_read(leaf, facts);
    X509_free(leaf);
    SSL_CTX_free(context);
    return true;
}

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

static void server_drop(struct tls_server *server)
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
    server_drop(server);
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
        SSL_CTX *context = context_of_pair(&pairs[i], &server->pairs[i].leaf, why, sizeof why);
        if (!context) {
            server_drop(server);
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
    server_drop(tls->server);
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
    tls->fault = (uint8_t)(error == SSL_ERROR_SYSCALL ? TLS_FAULT_CUT : fault_of_reason(reason));
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
