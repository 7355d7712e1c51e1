/*
 * RS256, PS256 and ES256 (RFC 7518 3.3 to 3.5) by OpenSSL's libcrypto. The only user of OpenSSL in
 * this room.
 *
 * Keys that have been parsed are kept, found again by their bytes, so that a key costs its parsing
 * once in a process. Nothing here decides which key or which algorithm counts.
 */
#ifndef WORKER_TOKEN_PUBLIC_H
#define WORKER_TOKEN_PUBLIC_H

#include "common/slice.h"
#include "config/config.h"

/* The longest signature: of RSA with 8,192 bits. */
enum { TOKEN_PUBLIC_SIGNATURE_BYTES_MAX = 1024 };

enum token_public {
    TOKEN_PUBLIC_GOOD,
    TOKEN_PUBLIC_BAD,     /* not the signature of this text by this key */
    TOKEN_PUBLIC_NO_KEY,  /* the bytes of the key are no key: a point that is not on the curve */
    TOKEN_PUBLIC_UNKNOWN, /* no memory: nothing is known of the signature */
};

/* key->kty is CONFIG_KTY_RS256, _PS256 or _ES256, and key->len is right for the kind. */
enum token_public token_public_verify(const struct config_key *key, struct slice text,
                                      struct slice signature);
/* The same judgement of the key alone: GOOD, NO_KEY or UNKNOWN. */
enum token_public token_public_check(const struct config_key *key);

#endif
