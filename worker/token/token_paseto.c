/*
 * PASETO v4.public: "v4.public." BODY [ "." FOOTER ], where BODY is the message and its Ed25519
 * signature.
 *
 * The prefix names the algorithm, and nothing in the token can change that. The signature covers
 * the footer, too, but the footer must be read before the signature is checked, to find the key:
 * the footer is short, and only its `kid` is used. The implicit assertion is always empty here.
 */
#include "worker/token/token_inside.h"

#include <sodium.h>

static enum err add_le64(struct buf *out, uint64_t value)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    return buf_add(out, bytes, sizeof bytes);
}

/* Each length stands before its piece, so that no two lists of pieces have the same encoding. (The
 * specification clears the top bit of each length; lengths here never have that bit.) */
enum err token_pae(const struct slice *pieces, size_t count, struct buf *out)
{
    add_le64(out, count);
    for (size_t i = 0; i < count; i++) {
        add_le64(out, pieces[i].len);
        buf_add_slice(out, pieces[i]);
    }
    return out->failed ? ERR_NOMEM : OK;
}

/* Reads `kid` of the footer. False when the footer is no JSON object. kid->data stays NULL when the
 * footer has no kid. */
static bool footer_read(struct slice json, struct arena *arena, struct slice *kid)
{
    struct json_value object, key, value;
    struct json_walk walk;

    if (!token_json_object(json, arena, &object))
        return false;
    json_walk_begin(&walk, &object);
    while (json_walk_member(&walk, &key, &value, NULL))
        if (json_key_equal(&key, SLICE("kid")) && !(*kid = token_json_text(&value, arena)).data)
            return false;
    return true;
}

static enum token_fault paseto_key_choose(const struct config *config, struct slice footer,
                                          int64_t now_s, const struct config_key **key)
{
    struct slice kid = { NULL, 0 };
    struct arena arena;
    enum token_fault fault = TOKEN_MALFORMED;

    arena_init(&arena, TOKEN_FOOTER_BYTES_MAX);
    if (footer.data && !footer_read(footer, &arena, &kid))
        goto done;
    fault = token_key_find(config, kid, CONFIG_KTY_ED25519, now_s, key);
    if (fault == TOKEN_GOOD && (*key)->kty != CONFIG_KTY_ED25519)
        fault = TOKEN_BAD_ALGORITHM; /* an HMAC secret is never used as a public key */
done:
    if (arena.failed)
        fault = TOKEN_UNCHECKED;
    arena_fini(&arena);
    return fault;
}

static enum token_fault paseto_check_signature(const struct config_key *key, struct slice message,
                                               struct slice footer, const uint8_t *signature)
{
    struct slice pieces[] = { SLICE(TOKEN_PASETO_HEADER), message, footer, SLICE("") };
    enum token_fault fault = TOKEN_BAD_SIGNATURE;
    struct buf text;

    buf_init(&text, 2 * (size_t)TOKEN_BYTES_MAX);
    if (token_pae(pieces, 4, &text))
        fault = TOKEN_UNCHECKED;
    else if (key->len == crypto_sign_PUBLICKEYBYTES &&
             crypto_sign_verify_detached(signature, (const uint8_t *)text.data, text.len,
                                         key->bytes) == 0)
        fault = TOKEN_GOOD;
    buf_fini(&text);
    return fault;
}

/* Decodes body and footer; footer->data stays NULL when there is none. */
static bool split_paseto(struct slice token, struct token_opened *opened, uint8_t *footer_bytes,
                         struct slice *footer)
{
    const char *body = token.data + strlen(TOKEN_PASETO_HEADER);
    const char *end = token.data + token.len;
    const char *dot = memchr(body, '.', (size_t)(end - body));
    size_t footer_len;

    if (dot) {
        /* An empty footer after a dot would be a second spelling of the token without one. */
        if (!token_base64url_decode(slice_make(dot + 1, (size_t)(end - dot - 1)), footer_bytes,
                                    TOKEN_FOOTER_BYTES_MAX, &footer_len) ||
            footer_len == 0)
            return false;
        *footer = slice_make(footer_bytes, footer_len);
    }
    return token_base64url_decode(slice_make(body, (size_t)((dot ? dot : end) - body)),
                                  opened->payload, sizeof opened->payload, &opened->payload_len) &&
           opened->payload_len >= TOKEN_SIGNATURE_BYTES;
}

enum token_fault token_paseto_open(const struct config *config, struct slice token, int64_t now_s,
                                   struct token_opened *opened)
{
    uint8_t footer_bytes[TOKEN_FOOTER_BYTES_MAX];
    struct slice footer = { NULL, 0 };
    const struct config_key *key;
    enum token_fault fault;

    if (!split_paseto(token, opened, footer_bytes, &footer))
        return TOKEN_MALFORMED;
    fault = paseto_key_choose(config, footer, now_s, &key);
    if (fault != TOKEN_GOOD)
        return fault;
    opened->payload_len -= TOKEN_SIGNATURE_BYTES;
    opened->iso_times = true;
    opened->key = key;
    return paseto_check_signature(key, slice_make(opened->payload, opened->payload_len), footer,
                                  opened->payload + opened->payload_len);
}
