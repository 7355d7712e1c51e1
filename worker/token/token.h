/*
 * Tokens (docs/protocol.md, section 6): JWT with EdDSA, HS256, RS256, PS256 or ES256, PASETO
 * v4.public. The only user of libsodium.
 *
 * The key that `kid` names fixes the algorithm, never the token. No part of a token is believed
 * before the signature is verified, and no part is ever logged.
 */
#ifndef WORKER_TOKEN_H
#define WORKER_TOKEN_H

#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"
#include "config/config.h"

#include <stdint.h>

enum { TOKEN_BYTES_MAX = 4096 };

/* Call once in each process before anything else here. ERR_SYSTEM when libsodium cannot start. */
enum err token_init(void);
/* Random bytes (libsodium's randombytes_buf), for ids and keys. */
void token_random(void *out, size_t len);

/* The permissions of a good token. Immutable and counted: a session and its messages on their way
 * share one. */
struct grant {
    uint32_t refs;
    char *sub; /* NUL-terminated; a valid user address, not reserved: auth.claims.address */
    size_t sub_len;
    char *jti;                              /* "" when none */
    int64_t expires_at;                     /* Unix seconds; INT64_MAX: unending */
    int64_t issued_at;                      /* Unix seconds; INT64_MIN: the token does not say */
    struct config_list send, groups, relay; /* patterns */
    bool broadcast, admin;
};
struct grant *grant_ref(struct grant *grant);
void grant_unref(struct grant *grant); /* NULL is allowed */
/* Returns the grant of a token for `sub` without `po` (auth.required false, tests), with one
 * reference owned by the caller; NULL when out of memory. */
struct grant *grant_default(struct slice sub);
/* Returns the grant of an operator, who may speak for and send to everybody, with one reference
 * owned by the caller; NULL when out of memory. sub is "". */
struct grant *grant_operator(void);
bool grant_may_speak_for(const struct grant *grant,
                         struct slice address); /* sub, or relay covers it */
bool grant_may_send_to(const struct grant *grant, struct slice address); /* user addresses: send */
bool grant_may_use_group(const struct grant *grant,
                         struct slice group); /* groups; #all: broadcast */

enum token_fault {
    TOKEN_GOOD,
    TOKEN_ABSENT,        /* empty */
    TOKEN_MALFORMED,     /* not a token, or over TOKEN_BYTES_MAX */
    TOKEN_UNKNOWN_KEY,   /* no key of that kid; no kid, and not exactly one key of the kind; or the
                            key's notAfter is past */
    TOKEN_BAD_ALGORITHM, /* alg is unknown, or not the key's */
    TOKEN_BAD_SIGNATURE,
    TOKEN_BAD_CLAIMS, /* sub missing or not an address; a claim of the wrong type; no exp */
    TOKEN_EXPIRED,
    TOKEN_NOT_YET, /* nbf or iat in the future */
    TOKEN_WRONG_AUDIENCE,
    TOKEN_WRONG_ISSUER,
    TOKEN_REVOKED,
    TOKEN_UNCHECKED, /* no memory: nothing is known of the token */
    TOKEN_FAULT_COUNT
};
/* Returns a short static text for people, such as "token expired", without any part of the
 * token. */
const char *token_fault_text(enum token_fault fault);

/* Verifies against config->auth at now_s (Unix seconds). TOKEN_GOOD with one reference in *grant,
 * owned by the caller; otherwise *grant is not set. Out of memory is TOKEN_BAD_CLAIMS or another
 * fault: a token that cannot be checked is refused. */
enum token_fault token_verify(const struct config *config, struct slice token, int64_t now_s,
                              struct grant **grant);
/* The same. After a fault *reason is a text for people that names the claim at fault, without any
 * part of the token; the text lasts until the next token is judged. */
enum token_fault token_judge(const struct config *config, struct slice token, int64_t now_s,
                             struct grant **grant, const char **reason);
/* Are the bytes of all public keys keys? False, with a line in why that names the first that is
 * none. */
bool token_keys_good(const struct config *config, char *why, size_t why_size);
bool token_revoked(const struct config *config, const char *jti);
/* Is the address revoked, for tokens of this age? issued_at as in a grant. */
bool token_sub_revoked(const struct config *config, struct slice sub, int64_t issued_at);
/* Is the grant's token revoked, by its jti or by its sub? */
bool token_grant_revoked(const struct config *config, const struct grant *grant);

/* For the command line and tests: makes keys and tokens. */
enum token_format { TOKEN_JWT_EDDSA, TOKEN_JWT_HS256, TOKEN_PASETO };
struct token_request {
    enum token_format format;
    const char *kid, *sub, *audience, *issuer, *jti; /* NULL: left out (jti: a random one) */
    const char *address_claim, *rights_claim;        /* NULL: sub and po */
    int64_t now_s, ttl_s;                            /* ttl_s 0: unending */
    const char *const *send, *const *groups,
                                 *const *relay; /* NULL-terminated, or NULL for the default */
    bool broadcast, admin;
};
/* key: the 32-byte Ed25519 seed, or the HMAC secret. Appends the token to out. ERR_BAD: the request
 * cannot make a token that a server accepts; ERR_FULL: longer than TOKEN_BYTES_MAX, or no room in
 * out. */
enum err token_issue(const struct token_request *request, const uint8_t *key, size_t key_len,
                     struct buf *out);
/* A random jti, NUL-terminated. */
enum { TOKEN_JTI_SIZE = 23 };
void token_jti_random(char jti[TOKEN_JTI_SIZE]);
void token_keypair(uint8_t public_key[32], uint8_t seed[32]);
enum err token_public_of_seed(const uint8_t seed[32], uint8_t public_key[32]);

#endif
