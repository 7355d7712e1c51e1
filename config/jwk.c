/*
 * Reads a JSON Web Key (RFC 7517 4, RFC 7518 6, RFC 8037 2) into a key of the configuration.
 *
 * A key's own members decide which one algorithm the key verifies: an RSA key without `alg` is one
 * for RS256, as identity providers mean it. A key that this server has no use for is left out, and
 * so is one with a fault (RFC 7517 5). No text here quotes key material: an oct key is a secret.
 */
#include "config/parts.h"

#include "common/base64.h"
#include "common/utf8.h"

enum { TEXT_BYTES_MAX = 2048, NUMBER_BYTES_MAX = KEY_RSA_BITS_MAX / 8 + 8 };

struct jwk {
    struct slice kty, kid, use, alg, crv, n, e, x, y, k; /* data NULL: absent */
    struct json_value ops;                               /* an array, when has_ops */
    bool has_ops, has_private, has_fault;
};

/* ---- members ---- */

static struct slice *text_member(struct jwk *jwk, const struct json_value *key)
{
    const struct {
        struct slice name, *text;
    } members[] = {
        { SLICE("kty"), &jwk->kty }, { SLICE("kid"), &jwk->kid }, { SLICE("use"), &jwk->use },
        { SLICE("alg"), &jwk->alg }, { SLICE("crv"), &jwk->crv }, { SLICE("n"), &jwk->n },
        { SLICE("e"), &jwk->e },     { SLICE("x"), &jwk->x },     { SLICE("y"), &jwk->y },
        { SLICE("k"), &jwk->k },
    };

    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (json_key_equal(key, members[i].name))
            return members[i].text;
    return NULL;
}

static bool is_private_member(const struct json_value *key)
{
    static const struct slice names[] = { SLICE("d"),  SLICE("p"),  SLICE("q"),  SLICE("dp"),
                                          SLICE("dq"), SLICE("qi"), SLICE("oth") };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (json_key_equal(key, names[i]))
            return true;
    return false;
}

static void take_member(struct jwk *jwk, const struct json_value *key,
                        const struct json_value *value, struct arena *arena)
{
    struct slice *text = text_member(jwk, key);

    if (text && value->type == JSON_STRING)
        *text = json_string(value, arena);
    else if (text)
        jwk->has_fault = true;
    else if (is_private_member(key))
        jwk->has_private = true;
    else if (json_key_equal(key, SLICE("key_ops"))) {
        jwk->has_ops = true;
        jwk->ops = *value;
        jwk->has_fault |= value->type != JSON_ARRAY;
    }
}

static void read_members(struct jwk *jwk, const struct json_value *object, struct arena *arena)
{
    struct json_value key, value;
    struct json_walk walk;

    json_walk_begin(&walk, object);
    while (json_walk_member(&walk, &key, &value, NULL))
        take_member(jwk, &key, &value, arena);
}

/* RFC 7517 4.2 and 4.3; both members may be there. */
static bool is_for_verifying(const struct jwk *jwk)
{
    struct json_value op;
    struct json_walk walk;

    if (jwk->use.data && !slice_equal(jwk->use, SLICE("sig")))
        return false;
    if (!jwk->has_ops)
        return true;
    json_walk_begin(&walk, &jwk->ops);
    while (json_walk_element(&walk, &op))
        if (op.type == JSON_STRING && json_key_equal(&op, SLICE("verify")))
            return true;
    return false;
}

/* ---- numbers ---- */

/* base64url without padding, in its one spelling (RFC 7515 2). */
static bool decode_base64url(struct slice text, uint8_t *out, size_t size, size_t *len)
{
    char standard[TEXT_BYTES_MAX + 4];
    size_t filled = text.len;
    bool good;

    if (!text.data || text.len > TEXT_BYTES_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '+' || c == '/' || c == '=')
            return false;
        standard[i] = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
    }
    while (filled % 4)
        standard[filled++] = '=';
    good = base64_decode(slice_make(standard, filled), out, size, len);
    explicit_bzero(standard, sizeof standard);
    return good;
}

/* A number without the zeros that some writers put in front. */
static bool decode_number(struct slice text, uint8_t *out, size_t size, struct slice *number)
{
    size_t len, zeros = 0;

    if (!decode_base64url(text, out, size, &len))
        return false;
    while (zeros < len && out[zeros] == 0)
        zeros++;
    *number = slice_make(out + zeros, len - zeros);
    return number->len > 0;
}

static bool number_is_odd(struct slice number)
{
    return (unsigned char)number.data[number.len - 1] & 1;
}

static size_t number_bits(struct slice number)
{
    return 8 * number.len - (size_t)(__builtin_clz((unsigned char)number.data[0]) - 24);
}

/* ---- kinds of keys: each returns NULL, or why the key is left out ---- */

static const char *set_bytes(struct config_key *key, const void *bytes, size_t len)
{
    return key_bytes_set(key, bytes, len) ? NULL : "";
}

static const char *read_rsa(const struct jwk *jwk, struct config_key *key)
{
    uint8_t n_bytes[NUMBER_BYTES_MAX], e_bytes[NUMBER_BYTES_MAX];
    uint8_t bytes[CONFIG_RSA_E_BYTES + NUMBER_BYTES_MAX] = { 0 };
    struct slice n, e;

    if (!decode_number(jwk->n, n_bytes, sizeof n_bytes, &n))
        return "n is no number in base64url of at most 8192 bits";
    if (!decode_number(jwk->e, e_bytes, sizeof e_bytes, &e))
        return "e is no number in base64url";
    if (number_bits(n) < KEY_RSA_BITS_MIN || number_bits(n) > KEY_RSA_BITS_MAX)
        return "RSA keys have 2048 to 8192 bits here";
    if (!number_is_odd(n))
        return "n is even, which no RSA modulus is";
    if (e.len > CONFIG_RSA_E_BYTES || !number_is_odd(e) || (e.len == 1 && *e.data == 1))
        return "e is no odd number from 3 to 4294967295";
    memcpy(bytes + CONFIG_RSA_E_BYTES - e.len, e.data, e.len);
    memcpy(bytes + CONFIG_RSA_E_BYTES, n.data, n.len);
    if (!jwk->alg.data || slice_equal(jwk->alg, SLICE("RS256")))
        key->kty = CONFIG_KTY_RS256;
    else if (slice_equal(jwk->alg, SLICE("PS256")))
        key->kty = CONFIG_KTY_PS256;
    else
        return "of the algorithms of RSA keys only RS256 and PS256 are known here";
    return set_bytes(key, bytes, CONFIG_RSA_E_BYTES + n.len);
}

/* RFC 7518 6.2.1.2: a coordinate has the full size of the curve. */
static const char *read_ec(const struct jwk *jwk, struct config_key *key)
{
    uint8_t bytes[KEY_ES256_BYTES];
    size_t x_len, y_len;

    if (!slice_equal(jwk->crv, SLICE("P-256")))
        return "of the curves of EC keys only P-256 is known here";
    if (jwk->alg.data && !slice_equal(jwk->alg, SLICE("ES256")))
        return "the algorithm of a P-256 key is ES256";
    if (!decode_base64url(jwk->x, bytes, 32, &x_len) || x_len != 32 ||
        !decode_base64url(jwk->y, bytes + 32, 32, &y_len) || y_len != 32)
        return "x and y are not 32 bytes each in base64url";
    key->kty = CONFIG_KTY_ES256;
    return set_bytes(key, bytes, sizeof bytes);
}

static const char *read_okp(const struct jwk *jwk, struct config_key *key)
{
    uint8_t bytes[KEY_ED25519_BYTES];
    size_t len;

    if (!slice_equal(jwk->crv, SLICE("Ed25519")))
        return "of the curves of OKP keys only Ed25519 is known here";
    if (jwk->alg.data && !slice_equal(jwk->alg, SLICE("EdDSA")))
        return "the algorithm of an Ed25519 key is EdDSA";
    if (!decode_base64url(jwk->x, bytes, sizeof bytes, &len) || len != sizeof bytes)
        return "x is not 32 bytes in base64url";
    key->kty = CONFIG_KTY_ED25519;
    return set_bytes(key, bytes, sizeof bytes);
}

static const char *read_oct(const struct jwk *jwk, struct config_key *key)
{
    uint8_t bytes[KEY_HMAC_BYTES_MAX];
    const char *why = "k is not 32 to 512 bytes in base64url";
    size_t len;

    if (jwk->alg.data && !slice_equal(jwk->alg, SLICE("HS256")))
        return "of the algorithms of oct keys only HS256 is known here";
    if (decode_base64url(jwk->k, bytes, sizeof bytes, &len) && len >= KEY_HMAC_BYTES_MIN) {
        key->kty = CONFIG_KTY_HMAC;
        why = set_bytes(key, bytes, len);
    }
    explicit_bzero(bytes, sizeof bytes);
    return why;
}

static const char *read_kind(const struct jwk *jwk, struct config_key *key)
{
    static const struct {
        struct slice kty;
        const char *(*read)(const struct jwk *jwk, struct config_key *key);
    } kinds[] = {
        { SLICE("RSA"), read_rsa },
        { SLICE("EC"), read_ec },
        { SLICE("OKP"), read_okp },
        { SLICE("oct"), read_oct },
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (slice_equal(jwk->kty, kinds[i].kty))
            return kinds[i].read(jwk, key);
    return "kty is none of RSA, EC, OKP and oct";
}

/* ---- one key ---- */

bool jwk_kid_good(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    return text.len <= CONFIG_KID_BYTES_MAX && utf8_valid(text);
}

enum jwk_verdict jwk_read(const struct json_value *object, struct arena *arena,
                          struct config_key *key, const char **why)
{
    struct jwk jwk = { 0 };

    *key = (struct config_key){ .not_after = INT64_MAX };
    *why = NULL;
    read_members(&jwk, object, arena);
    if (arena->failed)
        return JWK_NO_MEMORY;
    if (jwk.kid.data && jwk_kid_good(jwk.kid))
        memcpy(key->kid, jwk.kid.data, jwk.kid.len);
    else if (jwk.kid.data)
        *why = "kid is no text of at most 255 bytes without control characters";
    /* The k of an oct key is judged by jwks.c, which knows who can read the file. */
    if (jwk.has_private && !slice_equal(jwk.kty, SLICE("oct")))
        return JWK_PRIVATE;
    if (!is_for_verifying(&jwk) && !jwk.has_fault)
        return JWK_OTHER;
    if (jwk.has_fault)
        *why = "a member that must be text, or a list, is none";
    if (!*why)
        *why = read_kind(&jwk, key);
    if (!*why)
        return JWK_GOOD;
    return **why ? JWK_UNKNOWN : JWK_NO_MEMORY;
}
