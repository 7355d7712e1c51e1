#include "worker/token/token_public.h"

#include <assert.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdint.h>
#include <stdlib.h>

enum {
    PARSED_MAX = 16, /* keys; one more takes the place of the one that came first */
    COORDINATE_BYTES = 32,
    DER_BYTES_MAX = 80, /* of two integers of 33 bytes each, and their heads */
};

/* One parsed key, with the bytes that it was parsed from. */
struct parsed {
    EVP_PKEY *pkey;
    uint8_t *bytes;
    size_t len;
    bool rsa;
};

static struct parsed public_parsed[PARSED_MAX];
static unsigned public_next;

/* ---- keys ---- */

static bool is_rsa(const struct config_key *key)
{
    return key->kty == CONFIG_KTY_RS256 || key->kty == CONFIG_KTY_PS256;
}

static bool push_rsa(OSSL_PARAM_BLD *build, const struct config_key *key, BIGNUM *n, BIGNUM *e)
{
    return BN_bin2bn(key->bytes, CONFIG_RSA_E_BYTES, e) &&
           BN_bin2bn(key->bytes + CONFIG_RSA_E_BYTES, (int)(key->len - CONFIG_RSA_E_BYTES), n) &&
           OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
           OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e);
}

/* An uncompressed point (SEC 1, 2.3.3): 4, x, y. Not copied by the push. */
static bool push_ec(OSSL_PARAM_BLD *build, const struct config_key *key,
                    uint8_t point[1 + 2 * COORDINATE_BYTES])
{
    point[0] = 4;
    memcpy(point + 1, key->bytes, 2 * (size_t)COORDINATE_BYTES);
    return OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) &&
           OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
                                            1 + 2 * (size_t)COORDINATE_BYTES);
}

/* Makes *pkey of parameters; NULL when they are no key. False: no memory. */
static bool pkey_of(const char *type, OSSL_PARAM *params, EVP_PKEY **pkey)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    bool started = context && EVP_PKEY_fromdata_init(context) == 1;

    *pkey = NULL;
    if (started && EVP_PKEY_fromdata(context, pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        *pkey = NULL;
    EVP_PKEY_CTX_free(context);
    return started;
}

/* Returns the key, owned by the caller; NULL with *known false: no memory; NULL otherwise: the
 * bytes are no key. */
static EVP_PKEY *parse_key(const struct config_key *key, bool *known)
{
    uint8_t point[1 + 2 * COORDINATE_BYTES];
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_new(), *e = BN_new();
    OSSL_PARAM *params = NULL;
    EVP_PKEY *pkey = NULL;

    *known = false;
    if (build && n && e && (is_rsa(key) ? push_rsa(build, key, n, e) : push_ec(build, key, point)))
        params = OSSL_PARAM_BLD_to_param(build);
    if (params)
        *known = pkey_of(is_rsa(key) ? "RSA" : "EC", params, &pkey);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return pkey;
}

static struct parsed *parsed_find(const struct config_key *key)
{
    for (size_t i = 0; i < PARSED_MAX; i++) {
        struct parsed *parsed = &public_parsed[i];
        if (parsed->pkey && parsed->rsa == is_rsa(key) && parsed->len == key->len &&
            memcmp(parsed->bytes, key->bytes, key->len) == 0)
            return parsed;
    }
    return NULL;
}

/* Takes pkey. NULL: no memory. */
static struct parsed *parsed_keep(const struct config_key *key, EVP_PKEY *pkey)
{
    struct parsed *parsed = &public_parsed[public_next];
    uint8_t *bytes = malloc(key->len);

    if (!bytes) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    public_next = (public_next + 1) % PARSED_MAX;
    EVP_PKEY_free(parsed->pkey);
    free(parsed->bytes);
    memcpy(bytes, key->bytes, key->len);
    *parsed = (struct parsed){ .pkey = pkey, .bytes = bytes, .len = key->len, .rsa = is_rsa(key) };
    return parsed;
}

static enum token_public find_pkey(const struct config_key *key, EVP_PKEY **pkey)
{
    struct parsed *parsed = parsed_find(key);
    bool known = true;

    if (!parsed) {
        EVP_PKEY *fresh = parse_key(key, &known);
        if (!fresh)
            return known ? TOKEN_PUBLIC_NO_KEY : TOKEN_PUBLIC_UNKNOWN;
        parsed = parsed_keep(key, fresh);
    }
    if (!parsed)
        return TOKEN_PUBLIC_UNKNOWN;
    *pkey = parsed->pkey;
    return TOKEN_PUBLIC_GOOD;
}

/* ---- signatures ---- */

/* The form in which OpenSSL reads a signature of ES256, which a JWT has as r and s (RFC 7518 3.4).
 * False: no memory. */
static bool der_of_es256(struct slice raw, uint8_t der[DER_BYTES_MAX], size_t *len)
{
    const uint8_t *bytes = (const uint8_t *)raw.data;
    BIGNUM *r = BN_bin2bn(bytes, COORDINATE_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(bytes + COORDINATE_BYTES, COORDINATE_BYTES, NULL);
    ECDSA_SIG *signature = ECDSA_SIG_new();
    bool owned = signature && r && s && ECDSA_SIG_set0(signature, r, s) == 1;
    int der_len = owned ? i2d_ECDSA_SIG(signature, NULL) : 0;

    assert(der_len <= DER_BYTES_MAX);
    if (der_len > 0)
        der_len = i2d_ECDSA_SIG(signature, &der);
    if (!owned) {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(signature);
    *len = der_len > 0 ? (size_t)der_len : 0;
    return der_len > 0;
}

/* RFC 7518 3.5: MGF1 with SHA-256, which OpenSSL takes from the digest, and a salt as long as the
 * digest, no other. */
static bool use_pss(EVP_PKEY_CTX *context)
{
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static enum token_public verify_with(EVP_PKEY *pkey, bool pss, struct slice text,
                                     struct slice signature)
{
    enum token_public verdict = TOKEN_PUBLIC_UNKNOWN;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *details = NULL;

    if (context && EVP_DigestVerifyInit(context, &details, EVP_sha256(), NULL, pkey) == 1 &&
        (!pss || use_pss(details)))
        verdict = EVP_DigestVerify(context, (const uint8_t *)signature.data, signature.len,
                                   (const uint8_t *)text.data, text.len) == 1
                      ? TOKEN_PUBLIC_GOOD
                      : TOKEN_PUBLIC_BAD;
    EVP_MD_CTX_free(context);
    return verdict;
}

static bool length_fits(const struct config_key *key, size_t len)
{
    return len == (is_rsa(key) ? key->len - CONFIG_RSA_E_BYTES : 2 * (size_t)COORDINATE_BYTES);
}

enum token_public token_public_verify(const struct config_key *key, struct slice text,
                                      struct slice signature)
{
    uint8_t der[DER_BYTES_MAX];
    enum token_public verdict;
    EVP_PKEY *pkey = NULL;
    size_t der_len;

    if (!length_fits(key, signature.len))
        return TOKEN_PUBLIC_BAD;
    verdict = find_pkey(key, &pkey);
    if (verdict == TOKEN_PUBLIC_GOOD && key->kty == CONFIG_KTY_ES256) {
        if (der_of_es256(signature, der, &der_len))
            signature = slice_make(der, der_len);
        else
            verdict = TOKEN_PUBLIC_UNKNOWN;
    }
    if (verdict == TOKEN_PUBLIC_GOOD)
        verdict = verify_with(pkey, key->kty == CONFIG_KTY_PS256, text, signature);
    ERR_clear_error(); /* a bad signature leaves its reasons behind, and these grow */
    return verdict;
}

enum token_public token_public_check(const struct config_key *key)
{
    EVP_PKEY *pkey;
    enum token_public verdict = find_pkey(key, &pkey);

    ERR_clear_error();
    return verdict;
}
