/*
 * JSON Web Tokens in compact form (RFC 7515 3.1, RFC 7519): HEADER.PAYLOAD.SIGNATURE.
 *
 * The header is a stranger's. The server uses `kid`, to find a key of the configuration, and `alg`,
 * to compare with the algorithm of that key. Members about keys (jwk, jku, x5c) are never used.
 */
#include "worker/token/token_inside.h"

#include <sodium.h>

struct jwt_parts {
    struct slice header, payload, signature;
    struct slice signed_text; /* HEADER.PAYLOAD as it came (RFC 7515 5.2) */
};

static bool split_jwt(struct slice token, struct jwt_parts *parts)
{
    const char *end = token.data + token.len;
    const char *first = memchr(token.data, '.', token.len), *second;

    if (!first || !(second = memchr(first + 1, '.', (size_t)(end - first - 1))))
        return false;
    if (memchr(second + 1, '.', (size_t)(end - second - 1)))
        return false; /* five parts would be encryption (RFC 7516) */
    parts->header = slice_make(token.data, (size_t)(first - token.data));
    parts->payload = slice_make(first + 1, (size_t)(second - first - 1));
    parts->signature = slice_make(second + 1, (size_t)(end - second - 1));
    parts->signed_text = slice_make(token.data, (size_t)(second - token.data));
    return true;
}

struct jwt_header {
    struct slice alg, kid; /* data NULL: absent */
};

static bool typ_fits(struct slice typ)
{
    return slice_equal_nocase(typ, SLICE("JWT")) || slice_equal_nocase(typ, SLICE("at+jwt"));
}

static bool take_header_member(const struct json_value *key, const struct json_value *value,
                               struct arena *arena, struct jwt_header *header)
{
    if (json_key_equal(key, SLICE("alg")))
        return (header->alg = token_json_text(value, arena)).data;
    if (json_key_equal(key, SLICE("kid")))
        return (header->kid = token_json_text(value, arena)).data;
    if (json_key_equal(key, SLICE("typ"))) {
        struct slice typ = token_json_text(value, arena);
        return typ.data && typ_fits(typ);
    }
    /* `crit` lists extensions that a verifier must understand; this server understands none (RFC
     * 7515 4.1.11). */
    return !json_key_equal(key, SLICE("crit"));
}

static bool header_read(struct slice json, struct arena *arena, struct jwt_header *header)
{
    struct json_value object, key, value;
    struct json_walk walk;

    if (!token_json_object(json, arena, &object))
        return false;
    json_walk_begin(&walk, &object);
    while (json_walk_member(&walk, &key, &value, NULL))
        if (!take_header_member(&key, &value, arena, header))
            return false;
    return header->alg.data;
}

/* The comparison is exact: "eddsa" is another name. Every other name, "none" above all, is
 * refused. */
static bool kty_of_alg(struct slice alg, enum config_kty *kty)
{
    if (slice_equal(alg, SLICE("EdDSA")))
        *kty = CONFIG_KTY_ED25519;
    else if (slice_equal(alg, SLICE("HS256")))
        *kty = CONFIG_KTY_HMAC;
    else
        return false;
    return true;
}

static bool jwt_signature_good(const struct config_key *key, struct slice text,
                               const uint8_t *signature, size_t len)
{
    uint8_t expected[TOKEN_HMAC_BYTES];
    bool good;

    if (key->kty == CONFIG_KTY_ED25519)
        return len == TOKEN_SIGNATURE_BYTES && key->len == crypto_sign_PUBLICKEYBYTES &&
               crypto_sign_verify_detached(signature, (const uint8_t *)text.data, text.len,
                                           key->bytes) == 0;
    if (len != sizeof expected)
        return false;
    token_hmac(key->bytes, key->len, text, expected);
    good = sodium_memcmp(expected, signature, sizeof expected) == 0;
    /* The bytes would be a good signature for the refused text. */
    sodium_memzero(expected, sizeof expected);
    return good;
}

static enum token_fault jwt_key_choose(const struct config *config, struct slice json,
                                       int64_t now_s, const struct config_key **key)
{
    struct jwt_header header = { { NULL, 0 }, { NULL, 0 } };
    struct arena arena;
    enum token_fault fault = TOKEN_MALFORMED;
    enum config_kty kty;

    arena_init(&arena, TOKEN_BYTES_MAX);
    if (!header_read(json, &arena, &header))
        goto done;
    fault = TOKEN_BAD_ALGORITHM;
    if (!kty_of_alg(header.alg, &kty))
        goto done;
    fault = token_key_find(config, header.kid, kty, now_s, key);
    if (fault == TOKEN_GOOD && (*key)->kty != kty)
        fault = TOKEN_BAD_ALGORITHM;
done:
    if (arena.failed)
        fault = TOKEN_UNCHECKED;
    arena_fini(&arena);
    return fault;
}

enum token_fault token_jwt_open(const struct config *config, struct slice token, int64_t now_s,
                                struct token_opened *opened)
{
    /* opened->payload holds the decoded header first: header and payload are not needed at the same
     * time. */
    uint8_t signature[TOKEN_SIGNATURE_BYTES + 1];
    size_t header_len, signature_len;
    const struct config_key *key;
    struct jwt_parts parts;
    enum token_fault fault;

    if (!split_jwt(token, &parts) ||
        !token_base64url_decode(parts.header, opened->payload, sizeof opened->payload, &header_len))
        return TOKEN_MALFORMED;
    fault = jwt_key_choose(config, slice_make(opened->payload, header_len), now_s, &key);
    if (fault != TOKEN_GOOD)
        return fault;
    if (!token_base64url_decode(parts.payload, opened->payload, sizeof opened->payload,
                                &opened->payload_len) ||
        !token_base64url_decode(parts.signature, signature, sizeof signature, &signature_len))
        return TOKEN_MALFORMED;
    if (!jwt_signature_good(key, parts.signed_text, signature, signature_len))
        return TOKEN_BAD_SIGNATURE;
    opened->iso_times = false;
    return TOKEN_GOOD;
}
