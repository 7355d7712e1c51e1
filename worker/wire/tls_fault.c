/*
 * Kinds of faults of a TLS handshake, as counters and logs tell them apart, by OpenSSL's reasons.
 */
#include "worker/wire/tls_parts.h"

#include <openssl/err.h>

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

enum tls_fault tls_fault_of_reason(unsigned reason)
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
