/*
 * JSON Web Tokens in compact form (RFC 7515 3.1, RFC 7519): HEADER.PAYLOAD.SIGNATURE.
 *
 * The header is a stranger's. The server uses `kid`, to find a key of the configuration, and `alg`,
 * to compare with the algorithm of that key. Members about keys (jwk, jku, x5c) are never used.
 */
#include "worker/token/token_inside.h"

#include "worker/token/token_public.h"

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
    static const struct {
        struct slice alg;
        enum config_kty kty;
    } algs[] = {
        { SLICE("EdDSA"), CONFIG_KTY_ED25519 }, { SLICE("HS256"), CONFIG_KTY_HMAC },
        { SLICE("RS256"), CONFIG_KTY_RS256 },   { SLICE("PS256"), CONFIG_KTY_PS256 },
        { SLICE("ES256"), CONFIG_KTY_ES256 },
    };

    for (size_t i = 0; i < sizeof algs / sizeof algs[0]; i++)
        if (slice_equal(alg, algs[i].alg)) {
            *kty = algs[i].kty;
            return true;
        }
    return false;
}

static enum token_fault hmac_signature(const struct config_key *key, struct slice text,
                                       struct slice signature)
{
    uint8_t expected[TOKEN_HMAC_BYTES];
    bool good;

    if (signature.len != sizeof expected)
        return TOKEN_BAD_SIGNATURE;
    token_hmac(key->bytes, key->len, text, expected);
    good = sodium_memcmp(expected, signature.data, sizeof expected) == 0;
    /* The bytes would be a good signature for the refused text. */
    sodium_memzero(expected, sizeof expected);
    return good ? TOKEN_GOOD : TOKEN_BAD_SIGNATURE;
}

static enum token_fault ed25519_signature(const struct config_key *key, struct slice text,
                                          struct slice signature)
{
    return signature.len == TOKEN_SIGNATURE_BYTES && key->len == crypto_sign_PUBLICKEYBYTES &&
                   crypto_sign_verify_detached((const uint8_t *)signature.data,
                                               (const uint8_t *)text.data, text.len,
                                               key->bytes) == 0
               ? TOKEN_GOOD
               : TOKEN_BAD_SIGNATURE;
}

static enum token_fault jwt_signature(const struct config_key *key, struct slice text,
                                      struct slice signature)
{
    if (key->kty == CONFIG_KTY_ED25519)
        return ed25519_signature(key, text, signature);
    if (key->kty == CONFIG_KTY_HMAC)
        return hmac_signature(key, text, signature);
    switch (token_public_verify(key, text, signature)) {
    case TOKEN_PUBLIC_GOOD:
        return TOKEN_GOOD;
    case TOKEN_PUBLIC_BAD:
        return TOKEN_BAD_SIGNATURE;
    case TOKEN_PUBLIC_NO_KEY:
        return TOKEN_UNKNOWN_KEY;
    case TOKEN_PUBLIC_UNKNOWN:
        break;
    }
    return TOKEN_UNCHECKED;
}

/* Is the text signed by one of the keys? *key is that one. */
static enum token_fault jwt_signature_of(const struct token_keys *found, struct slice text,
                                         struct slice signature, const struct config_key **key)
{
    enum token_fault fault = TOKEN_UNKNOWN_KEY;

    for (size_t i = 0; i < found->count && fault != TOKEN_GOOD && fault != TOKEN_UNCHECKED; i++) {
        *key = found->keys[i];
        fault = jwt_signature(*key, text, signature);
    }
    return fault;
}

static enum token_fault jwt_keys_choose(const struct config *config, struct slice json,
                                        int64_t now_s, struct token_keys *found)
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
    fault = token_keys_find(config, header.kid, kty, now_s, found);
    /* Only a key that kid named can be of another kind: the public key of RS256 is never a secret
     * of HS256. */
    if (fault == TOKEN_GOOD && found->keys[0]->kty != kty)
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
    uint8_t signature[TOKEN_PUBLIC_SIGNATURE_BYTES_MAX + 1];
    size_t header_len, signature_len;
    struct token_keys found;
    struct jwt_parts parts;
    enum token_fault fault;

    if (!split_jwt(token, &parts) ||
        !token_base64url_decode(parts.header, opened->payload, sizeof opened->payload, &header_len))
        return TOKEN_MALFORMED;
    fault = jwt_keys_choose(config, slice_make(opened->payload, header_len), now_s, &found);
    if (fault != TOKEN_GOOD)
        return fault;
    if (!token_base64url_decode(parts.payload, opened->payload, sizeof opened->payload,
                                &opened->payload_len) ||
        !token_base64url_decode(parts.signature, signature, sizeof signature, &signature_len))
        return TOKEN_MALFORMED;
    opened->iso_times = false;
    return jwt_signature_of(&found, parts.signed_text, slice_make(signature, signature_len),
                            &opened->key);
}
