/*
 * A configuration with one key of each kind, and a forge. The forge makes tokens of any header and
 * any claims with a real signature, so that a test can break exactly one thing.
 */
#ifndef TESTS_UNIT_TOKEN_FIXTURE_H
#define TESTS_UNIT_TOKEN_FIXTURE_H

#include "worker/token/token_inside.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1790000000) /* 2026-09-21T14:13:20Z */

struct forge {
    struct config config;
    struct config_key keys[4];
    uint8_t seed[32], public_key[32], secret[48];
    char star[2], *anybody[1]; /* of the default grant */
    struct buf token;          /* the last token of the forge */
};

static inline void forge_key(struct forge *forge, const char *kid, enum config_kty kty)
{
    struct config_key *key = &forge->keys[forge->config.auth.key_count++];

    snprintf(key->kid, sizeof key->kid, "%s", kid);
    key->kty = kty;
    key->bytes = kty == CONFIG_KTY_ED25519 ? forge->public_key : forge->secret;
    key->len = kty == CONFIG_KTY_ED25519 ? sizeof forge->public_key : sizeof forge->secret;
    key->not_after = INT64_MAX;
}

/* Keys "e1" (Ed25519) and "h1" (HMAC), leeway 5, all other settings at their defaults. */
static inline void forge_init(struct forge *forge)
{
    memset(forge, 0, sizeof *forge);
    assert_int_equal(token_init(), OK);
    for (size_t i = 0; i < sizeof forge->seed; i++)
        forge->seed[i] = (uint8_t)(i + 1);
    for (size_t i = 0; i < sizeof forge->secret; i++)
        forge->secret[i] = (uint8_t)(200 - i);
    assert_int_equal(token_public_of_seed(forge->seed, forge->public_key), OK);
    forge->config.auth.keys = forge->keys;
    forge->config.auth.leeway_s = 5;
    forge->anybody[0] = forge->star;
    forge->star[0] = '*';
    forge->config.auth.default_grant.send = (struct config_list){ forge->anybody, 1 };
    forge_key(forge, "e1", CONFIG_KTY_ED25519);
    forge_key(forge, "h1", CONFIG_KTY_HMAC);
    buf_init(&forge->token, 1 << 20);
}

static inline void forge_fini(struct forge *forge)
{
    buf_fini(&forge->token);
}

static inline void forge_sign(struct forge *forge, struct slice text, uint8_t signature[64])
{
    uint8_t public_key[32], secret[64];

    crypto_sign_seed_keypair(public_key, secret, forge->seed);
    crypto_sign_detached(signature, NULL, (const uint8_t *)text.data, text.len, secret);
}

/* HEADER.PAYLOAD, without the signature. */
static inline void forge_head(struct forge *forge, struct slice header, struct slice claims)
{
    buf_reset(&forge->token);
    token_base64url_add(&forge->token, header.data, header.len);
    buf_add_char(&forge->token, '.');
    token_base64url_add(&forge->token, claims.data, claims.len);
    assert_false(forge->token.failed);
}

static inline struct slice forge_ed25519(struct forge *forge, const char *header,
                                         struct slice claims)
{
    uint8_t signature[64];

    forge_head(forge, slice_of(header), claims);
    forge_sign(forge, buf_slice(&forge->token), signature);
    buf_add_char(&forge->token, '.');
    token_base64url_add(&forge->token, signature, sizeof signature);
    return buf_slice(&forge->token);
}

static inline struct slice forge_hmac(struct forge *forge, const char *header, struct slice claims,
                                      const uint8_t *key, size_t key_len)
{
    uint8_t code[32];

    forge_head(forge, slice_of(header), claims);
    token_hmac(key, key_len, buf_slice(&forge->token), code);
    buf_add_char(&forge->token, '.');
    token_base64url_add(&forge->token, code, sizeof code);
    return buf_slice(&forge->token);
}

/* footer NULL: a token without a footer. */
static inline struct slice forge_paseto(struct forge *forge, const char *claims, const char *footer)
{
    struct slice pieces[] = { SLICE(TOKEN_PASETO_HEADER), slice_of(claims),
                              slice_of(footer ? footer : ""), SLICE("") };
    struct buf text, body;
    uint8_t signature[64];

    buf_init(&text, 1 << 20);
    buf_init(&body, 1 << 20);
    token_pae(pieces, 4, &text);
    forge_sign(forge, buf_slice(&text), signature);
    buf_add_text(&body, claims);
    buf_add(&body, signature, sizeof signature);
    buf_reset(&forge->token);
    buf_add_text(&forge->token, TOKEN_PASETO_HEADER);
    token_base64url_add(&forge->token, body.data, body.len);
    if (footer) {
        buf_add_char(&forge->token, '.');
        token_base64url_add(&forge->token, footer, strlen(footer));
    }
    buf_fini(&text);
    buf_fini(&body);
    return buf_slice(&forge->token);
}

/* Returns the verdict alone and drops the grant; a grant beside a fault fails the test. The token
 * lies in memory of its exact size, so that a sanitizer sees a read past the end. */
static inline enum token_fault verdict(const struct forge *forge, struct slice token, int64_t now_s)
{
    char *exact = malloc(token.len ? token.len : 1);
    struct grant *grant = NULL;
    enum token_fault fault;

    assert_non_null(exact);
    if (token.len)
        memcpy(exact, token.data, token.len);
    fault = token_verify(&forge->config, slice_make(exact, token.len), now_s, &grant);
    if (fault == TOKEN_GOOD)
        assert_non_null(grant);
    else
        assert_null(grant);
    grant_unref(grant);
    free(exact);
    return fault;
}

#define HEADER_E1 "{\"alg\":\"EdDSA\",\"kid\":\"e1\"}"
#define HEADER_H1 "{\"alg\":\"HS256\",\"kid\":\"h1\"}"
#define CLAIMS    "{\"sub\":\"alice\",\"exp\":1790000060}"

/* The verdict on a well-signed Ed25519 JWT with these claims. */
static inline enum token_fault claims_verdict(struct forge *forge, const char *claims)
{
    return verdict(forge, forge_ed25519(forge, HEADER_E1, slice_of(claims)), NOW);
}

#endif
