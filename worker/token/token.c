/*
 * Tokens: finds the format, finds the key, and names the faults.
 *
 * The order is the defence: length, form, key, algorithm, signature, and only then the claims. Each
 * step sees only what the step before has accepted. Nothing here logs.
 */
#include "worker/token/token_inside.h"
#include "worker/token/token_public.h"

#include "common/utf8.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(TOKEN_SIGNATURE_BYTES == crypto_sign_BYTES, "Ed25519 signatures");
_Static_assert(TOKEN_SEED_BYTES == crypto_sign_SEEDBYTES, "Ed25519 seeds");
_Static_assert(TOKEN_HMAC_BYTES == crypto_auth_hmacsha256_BYTES, "HMAC-SHA-256");

enum err token_init(void)
{
    return sodium_init() < 0 ? ERR_SYSTEM : OK; /* 1: started already */
}

void token_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

const char *token_fault_text(enum token_fault fault)
{
    static const char *const texts[TOKEN_FAULT_COUNT] = {
        [TOKEN_GOOD] = "token accepted",
        [TOKEN_ABSENT] = "no token",
        [TOKEN_MALFORMED] = "token malformed",
        [TOKEN_UNKNOWN_KEY] = "token key unknown",
        [TOKEN_BAD_ALGORITHM] = "token algorithm refused",
        [TOKEN_BAD_SIGNATURE] = "token signature wrong",
        [TOKEN_BAD_CLAIMS] = "token claims invalid",
        [TOKEN_EXPIRED] = "token expired",
        [TOKEN_NOT_YET] = "token not valid yet",
        [TOKEN_WRONG_AUDIENCE] = "token for another audience",
        [TOKEN_WRONG_ISSUER] = "token from another issuer",
        [TOKEN_REVOKED] = "token revoked",
        [TOKEN_UNCHECKED] = "token not checked: out of memory",
    };

    return (unsigned)fault < TOKEN_FAULT_COUNT ? texts[fault] : "token refused";
}

/* The signature is checked, and nothing else. */
static enum token_fault open_token(const struct config *config, struct slice token, int64_t now_s,
                                   struct token_opened *opened)
{
    if (token.len == 0)
        return TOKEN_ABSENT;
    if (token.len > TOKEN_BYTES_MAX)
        return TOKEN_MALFORMED;
    if (slice_starts(token, SLICE(TOKEN_PASETO_HEADER)))
        return token_paseto_open(config, token, now_s, opened);
    return token_jwt_open(config, token, now_s, opened);
}

enum token_fault token_judge_opened(const struct config *config, struct slice token, int64_t now_s,
                                    struct token_opened *opened, struct grant **grant,
                                    const char **reason)
{
    enum token_fault fault = open_token(config, token, now_s, opened);

    *reason = NULL;
    if (fault == TOKEN_GOOD)
        fault = token_claims_read(config, opened, now_s, grant, reason);
    if (!*reason)
        *reason = token_fault_text(fault);
    return fault;
}

enum token_fault token_judge(const struct config *config, struct slice token, int64_t now_s,
                             struct grant **grant, const char **reason)
{
    struct token_opened opened;

    return token_judge_opened(config, token, now_s, &opened, grant, reason);
}

enum token_fault token_verify(const struct config *config, struct slice token, int64_t now_s,
                              struct grant **grant)
{
    const char *reason;

    return token_judge(config, token, now_s, grant, &reason);
}

static const struct config_key *key_named(const struct config *config, struct slice kid)
{
    for (size_t i = 0; kid.len && i < config->auth.key_count; i++)
        if (slice_equal(kid, slice_of(config->auth.keys[i].kid)))
            return &config->auth.keys[i];
    return NULL;
}

/* A token without kid is accepted only when one key fits: trying several keys would let the token
 * choose. */
static const struct config_key *key_only(const struct config *config, enum config_kty kty)
{
    const struct config_key *only = NULL;

    for (size_t i = 0; i < config->auth.key_count; i++) {
        if (config->auth.keys[i].kty != kty)
            continue;
        if (only)
            return NULL;
        only = &config->auth.keys[i];
    }
    return only;
}

enum token_fault token_key_find(const struct config *config, struct slice kid, enum config_kty kty,
                                int64_t now_s, const struct config_key **key)
{
    *key = kid.data ? key_named(config, kid) : key_only(config, kty);
    return *key && now_s <= (*key)->not_after ? TOKEN_GOOD : TOKEN_UNKNOWN_KEY;
}

static const struct config_key *set_key_named(const struct config *config, struct slice kid)
{
    for (size_t i = 0; kid.len && i < config->auth.jwks.count; i++)
        if (slice_equal(kid, slice_of(config->auth.jwks.keys[i].kid)))
            return &config->auth.jwks.keys[i];
    return NULL;
}

/* The keys of a provider change without our doing, and two of a kind are there at every rotation:
 * "the only one" would be refused just then. All are the provider's own, so the token chooses
 * nothing. */
static void add_set_keys(const struct config *config, enum config_kty kty, struct token_keys *found)
{
    size_t count = 0;

    for (size_t i = 0; i < config->auth.jwks.count; i++)
        count += config->auth.jwks.keys[i].kty == kty;
    for (size_t i = 0; count <= TOKEN_KEYS_TRIED_MAX && i < config->auth.jwks.count; i++)
        if (config->auth.jwks.keys[i].kty == kty)
            found->keys[found->count++] = &config->auth.jwks.keys[i];
}

enum token_fault token_keys_find(const struct config *config, struct slice kid, enum config_kty kty,
                                 int64_t now_s, struct token_keys *found)
{
    found->count = 0;
    if (token_key_find(config, kid, kty, now_s, &found->keys[0]) == TOKEN_GOOD)
        found->count = 1;
    if (!kid.data)
        add_set_keys(config, kty, found);
    else if (!found->count && (found->keys[0] = set_key_named(config, kid)))
        found->count = 1;
    return found->count ? TOKEN_GOOD : TOKEN_UNKNOWN_KEY;
}

bool token_base64url_decode(struct slice text, uint8_t *out, size_t out_size, size_t *out_len)
{
    /* No character is ignored and no end pointer is given, so every text but the one spelling
     * fails; libsodium itself checks the bits left over behind the last byte. */
    return sodium_base642bin(out, out_size, text.data, text.len, NULL, out_len, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
}

enum err token_base64url_add(struct buf *out, const void *data, size_t len)
{
    size_t size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    enum err err = buf_reserve(out, size); /* sodium_bin2base64 writes a NUL, too */

    if (err)
        return err;
    sodium_bin2base64(out->data + out->len, size, data, len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    out->len += strlen(out->data + out->len);
    return OK;
}

bool token_json_object(struct slice text, struct arena *arena, struct json_value *object)
{
    struct json_fault fault;
    enum err err = utf8_valid(text) ? json_check(text, TOKEN_JSON_DEPTH, object, &fault) : ERR_BAD;

    arena->failed |= err == ERR_NOMEM;
    return !err && object->type == JSON_OBJECT;
}

struct slice token_json_text(const struct json_value *value, struct arena *arena)
{
    return value->type == JSON_STRING ? json_string(value, arena) : (struct slice){ NULL, 0 };
}

void token_hmac(const uint8_t *key, size_t key_len, struct slice text,
                uint8_t out[TOKEN_HMAC_BYTES])
{
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)text.data, text.len);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

bool token_keys_good(const struct config *config, char *why, size_t why_size)
{
    for (size_t i = 0; i < config->auth.jwks.count; i++) {
        const struct config_key *key = &config->auth.jwks.keys[i];
        if (key->kty == CONFIG_KTY_ED25519 || key->kty == CONFIG_KTY_HMAC ||
            token_public_check(key) == TOKEN_PUBLIC_GOOD)
            continue;
        snprintf(why, why_size, "auth.jwks: \"%s\": the numbers of key %zu%s%s are no public key",
                 config->auth.jwks_file, i + 1, *key->kid ? ", kid " : "", key->kid);
        return false;
    }
    return true;
}

static int compare_jti(const void *jti, const void *item)
{
    return strcmp(jti, *(char *const *)item);
}

bool token_revoked(const struct config *config, const char *jti)
{
    const struct config_list *revoked = &config->auth.revoked;

    return *jti && revoked->count &&
           bsearch(jti, revoked->items, revoked->count, sizeof *revoked->items, compare_jti);
}

/* An item is "SUB\nSECONDS", and no sub has a newline: the items are sorted by sub. */
static int compare_sub(const void *sub, const void *item)
{
    const struct slice *address = sub;
    const char *text = *(const char *const *)item;
    int order = strncmp(address->data, text, address->len);

    return order ? order : '\n' - (unsigned char)text[address->len];
}

bool token_sub_revoked(const struct config *config, struct slice sub, int64_t issued_at)
{
    const struct config_list *subs = &config->auth.revoked_subs;
    char **item = subs->count && sub.len
                      ? bsearch(&sub, subs->items, subs->count, sizeof *subs->items, compare_sub)
                      : NULL;

    return item && issued_at < strtoll(*item + sub.len + 1, NULL, 10);
}

bool token_grant_revoked(const struct config *config, const struct grant *grant)
{
    return token_revoked(config, grant->jti) ||
           token_sub_revoked(config, slice_make(grant->sub, grant->sub_len), grant->issued_at);
}

void token_keypair(uint8_t public_key[32], uint8_t seed[32])
{
    randombytes_buf(seed, TOKEN_SEED_BYTES);
    token_public_of_seed(seed, public_key);
}

enum err token_public_of_seed(const uint8_t seed[32], uint8_t public_key[32])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    int failed = crypto_sign_seed_keypair(public_key, secret, seed);

    sodium_memzero(secret, sizeof secret);
    return failed ? ERR_BAD : OK;
}
