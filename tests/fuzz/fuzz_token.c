/*
 * Two kinds of tokens: any bytes, and any header and claims with a good signature. Without the
 * second kind the fuzzer would never get past the signature.
 *
 * The first byte selects the kind. r: the bytes are the token. j, h, p: the bytes up to the first
 * newline are the header (of p: the footer), the rest the claims; signed as a JWT with Ed25519 (j)
 * or HMAC (h), or as a PASETO (p). t: the bytes are an ISO 8601 time.
 */
#include "common/address.h"
#include "worker/token/token_inside.h"

#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>

#define NOW INT64_C(1790000000)

static uint8_t seed[32] = "an Ed25519 seed and no secret", public_key[32], secret_key[64];
static uint8_t hmac_secret[32] = "an HMAC secret that is no secret";
static struct config_key keys[] = {
    { .kid = "e1",
      .kty = CONFIG_KTY_ED25519,
      .bytes = public_key,
      .len = 32,
      .not_after = INT64_MAX },
    { .kid = "h1",
      .kty = CONFIG_KTY_HMAC,
      .bytes = hmac_secret,
      .len = 32,
      .not_after = INT64_MAX },
};
static char audience[] = "po", revoked_jti[] = "revoked", *revoked[] = { revoked_jti };
static char revoked_sub[] = "left\n1790000000", *revoked_subs[] = { revoked_sub };
static char star[] = "*", *anybody[] = { star };
static struct config config = {
    .auth = { .allow_unending = true,
              .default_grant = { .send = { anybody, 1 } },
              .leeway_s = 5,
              .keys = keys,
              .key_count = 2,
              .revoked = { revoked, 1 },
              .revoked_subs = { revoked_subs, 1 } },
};

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void check_list(const struct config_list *list)
{
    must(list->count <= TOKEN_PATTERNS_MAX);
    for (size_t i = 0; i < list->count; i++)
        must(list->items[i][0] && strlen(list->items[i]) <= ADDRESS_BYTES_MAX + 1);
}

static void check_grant(const struct grant *grant)
{
    struct slice sub = slice_make(grant->sub, grant->sub_len);

    must(strlen(grant->sub) == grant->sub_len && address_may_speak(sub));
    must(strlen(grant->jti) <= TOKEN_JTI_BYTES_MAX && !token_grant_revoked(&config, grant));
    must(grant->expires_at > NOW - 5);
    check_list(&grant->send);
    check_list(&grant->groups);
    check_list(&grant->relay);
    must(grant_may_speak_for(grant, sub));
    must(!grant_may_speak_for(grant, SLICE("postmaster")));
    must(!grant_may_speak_for(grant, SLICE("#all")));
    must(grant_may_use_group(grant, SLICE("#all")) == grant->broadcast);
}

static enum token_fault verify(struct slice token)
{
    struct grant *grant = NULL;
    enum token_fault fault = token_verify(&config, token, NOW, &grant);

    must((fault == TOKEN_GOOD) == (grant != NULL));
    if (grant)
        check_grant(grant);
    grant_unref(grant);
    return fault;
}

/* An accepted token is refused when one byte is changed. The length selects four bytes to try. */
static void verify_and_break(struct buf *token)
{
    if (token->failed || verify(buf_slice(token)) != TOKEN_GOOD)
        return;
    for (size_t step = 0; step < 4; step++) {
        size_t at = (token->len * 7 + step * 31) % token->len;
        token->data[at] ^= 1;
        must(verify(buf_slice(token)) != TOKEN_GOOD);
        token->data[at] ^= 1;
    }
}

static void jwt(struct slice header, struct slice claims, bool hmac, struct buf *token)
{
    uint8_t signature[64];

    token_base64url_add(token, header.data, header.len);
    buf_add_char(token, '.');
    token_base64url_add(token, claims.data, claims.len);
    if (hmac)
        token_hmac(hmac_secret, sizeof hmac_secret, buf_slice(token), signature);
    else
        crypto_sign_detached(signature, NULL, (const uint8_t *)buf_slice(token).data, token->len,
                             secret_key);
    buf_add_char(token, '.');
    token_base64url_add(token, signature, hmac ? 32 : 64);
}

static void paseto(struct slice footer, struct slice claims, struct buf *token)
{
    struct slice pieces[] = { SLICE(TOKEN_PASETO_HEADER), claims, footer, SLICE("") };
    struct buf text, body;
    uint8_t signature[64];

    buf_init(&text, 1 << 20);
    buf_init(&body, 1 << 20);
    must(token_pae(pieces, 4, &text) == OK);
    crypto_sign_detached(signature, NULL, (const uint8_t *)text.data, text.len, secret_key);
    buf_add_slice(&body, claims);
    buf_add(&body, signature, sizeof signature);
    buf_add_text(token, TOKEN_PASETO_HEADER);
    token_base64url_add(token, body.data, body.len);
    if (footer.len) {
        buf_add_char(token, '.');
        token_base64url_add(token, footer.data, footer.len);
    }
    buf_fini(&text);
    buf_fini(&body);
}

/* A time that is read, written and read again is the same moment. */
static void iso_time(struct slice text)
{
    struct buf again;
    int64_t first, second;

    if (!token_time_parse(text, &first))
        return;
    buf_init(&again, 64);
    if (first <= TOKEN_TIME_MAX) {
        must(token_time_add(&again, first) == OK);
        must(token_time_parse(buf_slice(&again), &second) && first == second);
    }
    buf_fini(&again);
}

static void start(void)
{
    must(token_init() == OK);
    crypto_sign_seed_keypair(public_key, secret_key, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest, first, second = { "", 0 };
    const char *newline;
    struct buf token;

    if (!public_key[0])
        start();
    if (size < 1 || size > (64 << 10))
        return 0;
    rest = first = slice_make(data + 1, size - 1);
    if (rest.len && (newline = memchr(rest.data, '\n', rest.len))) {
        first.len = (size_t)(newline - rest.data);
        second = slice_make(newline + 1, rest.len - first.len - 1);
    }
    config.auth.audience = size % 2 ? audience : NULL;
    buf_init(&token, 1 << 20);
    if (data[0] == 'j' || data[0] == 'h')
        jwt(first, second, data[0] == 'h', &token);
    else if (data[0] == 'p')
        paseto(first, second, &token);
    else if (data[0] == 't')
        iso_time(rest);
    else
        verify(rest);
    if (token.len)
        verify_and_break(&token);
    buf_fini(&token);
    return 0;
}
