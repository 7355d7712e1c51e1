/*
 * The parts that the token files share; only they and unit tests include this header.
 *
 * Verifying has two steps: a format (token_jwt.c, token_paseto.c) finds the key and checks the
 * signature; then token_claims.c reads the claims of the payload that the format returned.
 */
#ifndef WORKER_TOKEN_INSIDE_H
#define WORKER_TOKEN_INSIDE_H

#include "common/arena.h"
#include "common/json.h"
#include "worker/token/token.h"

enum {
    TOKEN_SIGNATURE_BYTES = 64, /* Ed25519 */
    TOKEN_KEYS_TRIED_MAX = 8,   /* of a JWK Set, for a JWT without kid */
    TOKEN_HMAC_BYTES = 32,
    TOKEN_SEED_BYTES = 32,
    TOKEN_FOOTER_BYTES_MAX =
        256, /* of a PASETO, decoded: the footer is read before the signature is checked */
    TOKEN_JTI_BYTES_MAX = 128,
    TOKEN_PATTERNS_MAX = 256, /* a list */
    TOKEN_JSON_DEPTH = 8,
};

#define TOKEN_PASETO_HEADER "v4.public."

/* The last second of the year 9999: later times have no ISO 8601 text of four digits. */
#define TOKEN_TIME_MAX INT64_C(253402300799)

/* The decoded payload that a good signature covers. Nothing but the signature has been checked. */
struct token_opened {
    uint8_t payload[TOKEN_BYTES_MAX];
    size_t payload_len;
    const struct config_key *key; /* of the signature */
    bool iso_times;               /* PASETO writes times as text, JWT as numbers */
};

/* TOKEN_GOOD with *opened filled; after a fault the contents of *opened mean nothing. */
enum token_fault token_jwt_open(const struct config *config, struct slice token, int64_t now_s,
                                struct token_opened *opened);
enum token_fault token_paseto_open(const struct config *config, struct slice token, int64_t now_s,
                                   struct token_opened *opened);
/* As token_judge; *opened says which key verified a good token. */
enum token_fault token_judge_opened(const struct config *config, struct slice token, int64_t now_s,
                                    struct token_opened *opened, struct grant **grant,
                                    const char **reason);
/* TOKEN_GOOD with one reference in *grant; else *reason names the claim. */
enum token_fault token_claims_read(const struct config *config, const struct token_opened *opened,
                                   int64_t now_s, struct grant **grant, const char **reason);

/* Finds among the keys of our own the one that kid names, or when kid.data is NULL the only key of
 * that kind. TOKEN_UNKNOWN_KEY when there is none, or its notAfter is past. A named key may be of
 * another kind: the caller compares. */
enum token_fault token_key_find(const struct config *config, struct slice kid, enum config_kty kty,
                                int64_t now_s, const struct config_key **key);

/* Keys that a token may have been made with. */
struct token_keys {
    const struct config_key *keys[TOKEN_KEYS_TRIED_MAX + 1];
    size_t count;
};
/* The same among all keys, those of auth.jwks included. A key of the set needs no kid, so without a
 * kid all keys of that kind in the set count too, unless they are more than TOKEN_KEYS_TRIED_MAX.
 * TOKEN_GOOD: at least one key, and all are of the kind, unless kid named another. */
enum token_fault token_keys_find(const struct config *config, struct slice kid, enum config_kty kty,
                                 int64_t now_s, struct token_keys *found);

/* base64url without padding (RFC 7515 2), in its one spelling: no padding, no white space, no bits
 * set behind the last byte, so that two different texts are never the same token. */
bool token_base64url_decode(struct slice text, uint8_t *out, size_t out_size, size_t *out_len);
enum err token_base64url_add(struct buf *out, const void *data, size_t len);
/* Is text valid UTF-8 and one JSON object? False with arena->failed set: memory is out. */
bool token_json_object(struct slice text, struct arena *arena, struct json_value *object);
/* Returns the string's characters, within the text or in the arena. data is NULL when value is no
 * string or memory is out. */
struct slice token_json_text(const struct json_value *value, struct arena *arena);

/* Pre-authentication encoding (PASETO specification, Common.md, "PAE Definition"). */
enum err token_pae(const struct slice *pieces, size_t count, struct buf *out);
void token_hmac(const uint8_t *key, size_t key_len, struct slice text,
                uint8_t out[TOKEN_HMAC_BYTES]);

/* A JSON number as seconds (a NumericDate, RFC 7519 2): a fraction is cut off, an exponent carried
 * out. False for less than 0 and for more than INT64_MAX. */
bool token_seconds_parse(struct slice number, int64_t *unix_s);
/* RFC 3339 with upper-case T and a zone; a fraction is cut off. Times before 1970 and times that no
 * calendar has (30 February, a leap second) are refused. */
bool token_time_parse(struct slice text, int64_t *unix_s);
/* Appends a time such as "2026-11-23T07:00:00+00:00". ERR_BAD: before 1970, or past
 * TOKEN_TIME_MAX. */
enum err token_time_add(struct buf *out, int64_t unix_s);

/* The parts that grant_new makes a grant of. A grant is one block of memory however many patterns
 * it has, because many sessions hold one each. */
struct grant_list {
    struct slice items[TOKEN_PATTERNS_MAX];
    size_t count;
};
struct grant_parts {
    struct slice sub, jti;
    int64_t expires_at, issued_at;
    struct grant_list send, groups, relay;
    bool broadcast, admin;
};
/* Returns a grant with one reference, owned by the caller, that holds copies of all parts; NULL
 * when out of memory. */
struct grant *grant_new(const struct grant_parts *parts);

#endif
