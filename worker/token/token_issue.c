/*
 * Makes tokens, for `websocket-server token issue` and for tests: the mirror of verifying.
 *
 * No worker calls this file: a server that serves never issues a token.
 */
#include "worker/token/token_inside.h"

#include "common/address.h"

#include <sodium.h>

static void add_string_member(struct buf *json, const char *name, const char *text)
{
    if (!text)
        return;
    buf_addf(json, ",\"%s\":", name);
    json_add_string(json, slice_of(text));
}

static void add_time_member(struct buf *json, const char *name, int64_t time_s, bool iso)
{
    buf_addf(json, ",\"%s\":", name);
    if (!iso) {
        buf_add_int(json, time_s);
        return;
    }
    buf_add_char(json, '"');
    token_time_add(json, time_s);
    buf_add_char(json, '"');
}

/* patterns NULL leaves the member out, so that the default of docs/protocol.md holds; an empty list
 * is written as such. */
static void add_patterns(struct buf *json, const char *name, const char *const *patterns)
{
    if (!patterns)
        return;
    if (json->data[json->len - 1] != '{')
        buf_add_char(json, ',');
    buf_addf(json, "\"%s\":[", name);
    for (size_t i = 0; patterns[i]; i++) {
        if (i)
            buf_add_char(json, ',');
        json_add_string(json, slice_of(patterns[i]));
    }
    buf_add_char(json, ']');
}

static void add_flag(struct buf *json, const char *name, bool flag)
{
    if (!flag)
        return;
    if (json->data[json->len - 1] != '{')
        buf_add_char(json, ',');
    buf_addf(json, "\"%s\":true", name);
}

static void add_po(struct buf *json, const struct token_request *request)
{
    if (!request->send && !request->groups && !request->relay && !request->broadcast &&
        !request->admin)
        return;
    buf_add_char(json, ',');
    json_add_string(json, slice_of(request->rights_claim ? request->rights_claim : "po"));
    buf_add_text(json, ":{");
    if (json->failed)
        return;
    add_patterns(json, "send", request->send);
    add_patterns(json, "groups", request->groups);
    add_patterns(json, "relay", request->relay);
    add_flag(json, "broadcast", request->broadcast);
    add_flag(json, "admin", request->admin);
    buf_add_char(json, '}');
}

void token_jti_random(char jti[TOKEN_JTI_SIZE])
{
    uint8_t random[16];

    _Static_assert(sodium_base64_ENCODED_LEN(
                       sizeof random, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == TOKEN_JTI_SIZE,
                   "16 bytes in base64url");
    token_random(random, sizeof random);
    sodium_bin2base64(jti, TOKEN_JTI_SIZE, random, sizeof random,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static void add_jti(struct buf *json, const char *jti)
{
    char random[TOKEN_JTI_SIZE];

    if (!jti)
        token_jti_random(random);
    add_string_member(json, "jti", jti ? jti : random);
}

static void add_claims(struct buf *json, const struct token_request *request)
{
    bool iso = request->format == TOKEN_PASETO;

    buf_add_char(json, '{');
    json_add_string(json, slice_of(request->address_claim ? request->address_claim : "sub"));
    buf_add_char(json, ':');
    json_add_string(json, slice_of(request->sub));
    add_string_member(json, "iss", request->issuer);
    add_string_member(json, "aud", request->audience);
    add_time_member(json, "iat", request->now_s, iso);
    if (request->ttl_s)
        add_time_member(json, "exp", request->now_s + request->ttl_s, iso);
    add_jti(json, request->jti);
    add_po(json, request);
    buf_add_char(json, '}');
}

static bool sign(const uint8_t *seed, struct slice text, uint8_t signature[TOKEN_SIGNATURE_BYTES])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES], public_key[crypto_sign_PUBLICKEYBYTES];
    bool done =
        crypto_sign_seed_keypair(public_key, secret, seed) == 0 &&
        crypto_sign_detached(signature, NULL, (const uint8_t *)text.data, text.len, secret) == 0;

    sodium_memzero(secret, sizeof secret);
    return done;
}

static void add_jwt_header(struct buf *json, const struct token_request *request)
{
    buf_addf(json, "{\"alg\":\"%s\",\"typ\":\"JWT\"",
             request->format == TOKEN_JWT_HS256 ? "HS256" : "EdDSA");
    add_string_member(json, "kid", request->kid);
    buf_add_char(json, '}');
}

static enum err issue_jwt(const struct token_request *request, struct slice claims,
                          const uint8_t *key, size_t key_len, struct buf *token)
{
    uint8_t signature[TOKEN_SIGNATURE_BYTES];
    size_t signature_len = TOKEN_SIGNATURE_BYTES;
    struct buf header;

    buf_init(&header, TOKEN_BYTES_MAX);
    add_jwt_header(&header, request);
    token_base64url_add(token, buf_slice(&header).data, header.len);
    buf_add_char(token, '.');
    token_base64url_add(token, claims.data, claims.len);
    token->failed |= header.failed;
    buf_fini(&header);
    if (token->failed)
        return ERR_FULL;
    if (request->format == TOKEN_JWT_HS256) {
        token_hmac(key, key_len, buf_slice(token), signature);
        signature_len = TOKEN_HMAC_BYTES;
    } else if (!sign(key, buf_slice(token), signature)) {
        return ERR_BAD;
    }
    buf_add_char(token, '.');
    token_base64url_add(token, signature, signature_len);
    return token->failed ? ERR_FULL : OK;
}

static enum err paseto_body(struct slice claims, struct slice footer, const uint8_t *seed,
                            struct buf *body)
{
    struct slice pieces[] = { SLICE(TOKEN_PASETO_HEADER), claims, footer, SLICE("") };
    uint8_t signature[TOKEN_SIGNATURE_BYTES];
    struct buf text;
    enum err err;

    buf_init(&text, 2 * (size_t)TOKEN_BYTES_MAX);
    err = token_pae(pieces, 4, &text);
    if (!err && !sign(seed, buf_slice(&text), signature))
        err = ERR_BAD;
    buf_fini(&text);
    if (err)
        return err;
    buf_add_slice(body, claims);
    buf_add(body, signature, sizeof signature);
    return body->failed ? ERR_FULL : OK;
}

static enum err issue_paseto(const struct token_request *request, struct slice claims,
                             const uint8_t *seed, struct buf *token)
{
    struct buf footer, body;
    enum err err;

    buf_init(&footer, TOKEN_FOOTER_BYTES_MAX);
    buf_init(&body, TOKEN_BYTES_MAX);
    if (request->kid) {
        buf_add_text(&footer, "{\"kid\":");
        json_add_string(&footer, slice_of(request->kid));
        buf_add_char(&footer, '}');
    }
    err = footer.failed ? ERR_BAD : paseto_body(claims, buf_slice(&footer), seed, &body);
    if (!err) {
        buf_add_text(token, TOKEN_PASETO_HEADER);
        token_base64url_add(token, body.data, body.len);
        if (footer.len) {
            buf_add_char(token, '.');
            token_base64url_add(token, footer.data, footer.len);
        }
        err = token->failed ? ERR_FULL : OK;
    }
    buf_fini(&footer);
    buf_fini(&body);
    return err;
}

static bool request_good(const struct token_request *request, size_t key_len)
{
    if (!request->sub || !address_may_speak(slice_of(request->sub)))
        return false;
    if (request->jti && strlen(request->jti) > TOKEN_JTI_BYTES_MAX)
        return false;
    if (request->now_s < 0 || request->ttl_s < 0 || request->now_s > TOKEN_TIME_MAX ||
        request->ttl_s > TOKEN_TIME_MAX - request->now_s)
        return false;
    return request->format == TOKEN_JWT_HS256 ? key_len >= TOKEN_HMAC_BYTES
                                              : key_len == TOKEN_SEED_BYTES;
}

enum err token_issue(const struct token_request *request, const uint8_t *key, size_t key_len,
                     struct buf *out)
{
    struct buf claims, token;
    enum err err;

    if (!request_good(request, key_len))
        return ERR_BAD;
    buf_init(&claims, TOKEN_BYTES_MAX);
    buf_init(&token, TOKEN_BYTES_MAX + 1); /* room for the encoder's NUL */
    add_claims(&claims, request);
    if (claims.failed)
        err = ERR_FULL;
    else if (request->format == TOKEN_PASETO)
        err = issue_paseto(request, buf_slice(&claims), key, &token);
    else
        err = issue_jwt(request, buf_slice(&claims), key, key_len, &token);
    if (!err && token.len > TOKEN_BYTES_MAX)
        err = ERR_FULL; /* no server accepts such a token */
    if (!err)
        err = buf_add_slice(out, buf_slice(&token));
    buf_fini(&claims);
    buf_fini(&token);
    return err;
}
