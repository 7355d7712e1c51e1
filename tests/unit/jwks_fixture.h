/* A configuration with the keys of one JWK Set, read from text as auth.jwks reads a file. */
#ifndef TESTS_UNIT_JWKS_FIXTURE_H
#define TESTS_UNIT_JWKS_FIXTURE_H

#include "tests/unit/token_fixture.h"

#include "config/parts.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

/* Owned by the caller (config_free). The report is filled anew; a set that is refused may leave
 * keys behind, which jwks_load's caller throws away. */
static inline struct config *config_of_set(struct slice set, bool guarded,
                                           struct config_report *report)
{
    struct config *config = calloc(1, sizeof *config);
    struct draft draft = { .config = config, .report = report, .file = "conf.json" };

    assert_non_null(config);
    buf_reset(&report->errors);
    buf_reset(&report->warnings);
    config->auth.jwks_file = strdup("set.json");
    config->auth.leeway_s = 5;
    config->auth.allow_unending = true;
    jwks_read(&draft, set, guarded);
    return config;
}

/* ---- an identity provider: keys, their JWKs, and tokens ---- */

/* A published key pair (wycheproof_jwk.txt, number 5), because a fresh one of RSA costs much time.
 */
static const char rsa_n[] =
    "kqGboBfAWttWPCA-0cGRgsY6SaYoIARt0B_PkaEcIq9HPYNdu9n6UuWHuuTHrjF_ZoQW97r5HaAorNvrMEGTGd"
    "xCHZdEtkHvNVVmrtxTBLiQCbCozXhFoIrVcr3qUBrdGnNn_M3jJi7Wg7p_-x62nS5gNG875oyheRkutHsQXikF"
    "ZwsN3q_TsPNOVlCiHy8mxzaFTUQGm-X8UYexFyAivlDSjgDJLAZSWfxd7k9Gxuwa3AUfQqQcVcegmgKGCaErQ3"
    "qQbh1x7WB6iopE3_-GZ8HMAVtR9AmrVscqYsnjhaCehfAI0iKKs8zXr8tISc0ORbaalrkk03H1ZrsEnDKEWQ";
static const char rsa_d[] =
    "YsfIRYN6rDqSz5KRf1E9q7HK1o6-_UK-j7S-asb0Y1FdVs1GuiRQhMPoOjmhY3Io93EI3_7vj8uzWzAUMsAaTx"
    "OY3sJnIbktYuqTcD0xGD8VmdGPBkx963db8B6M2UYfqZARf7dbzP9EuB1N1miMcTsqyGgfHGOk7CXQ1vkIv8Uw"
    "w38KMtEdJ3iB8r-f3qcu-UJjE7Egw9CxKOMjArOXxZEr4VnoIXrImrcTxBfjdY8GbzXGATiPQLur5GT99ZDW78"
    "falsir-b5Ean6HNyOeuaJuceT-yjgCXn57Rd3oIHD94CrjNtjBusoLdjbr489L8K9ksCh1gynzLGkeeWgVGQ";

static inline EVP_PKEY *rsa_load(void)
{
    const char *const names[] = { OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_D };
    const char *const texts[] = { rsa_n, rsa_d };
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *numbers[2];
    OSSL_PARAM *params;
    EVP_PKEY *pkey = NULL;

    for (size_t i = 0; i < 2; i++) {
        uint8_t bytes[256];
        size_t len;
        assert_true(token_base64url_decode(slice_of(texts[i]), bytes, sizeof bytes, &len));
        numbers[i] = BN_bin2bn(bytes, (int)len, NULL);
        assert_int_equal(OSSL_PARAM_BLD_push_BN(build, names[i], numbers[i]), 1);
    }
    assert_int_equal(OSSL_PARAM_BLD_push_ulong(build, OSSL_PKEY_PARAM_RSA_E, 65537), 1);
    params = OSSL_PARAM_BLD_to_param(build);
    assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
    assert_int_equal(EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, params), 1);
    for (size_t i = 0; i < 2; i++)
        BN_free(numbers[i]);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(context);
    return pkey;
}

static inline void add_number(struct buf *json, const char *name, EVP_PKEY *pkey, const char *param,
                              int size)
{
    uint8_t bytes[1024];
    BIGNUM *number = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(pkey, param, &number), 1);
    size = size ? size : BN_num_bytes(number);
    assert_int_equal(BN_bn2binpad(number, bytes, size), size);
    BN_free(number);
    buf_addf(json, ",\"%s\":\"", name);
    token_base64url_add(json, bytes, (size_t)size);
    buf_add_char(json, '"');
}

/* Appends the key as a JWK; more: further members, each with a comma in front. */
static inline void add_jwk(struct buf *json, EVP_PKEY *pkey, const char *more)
{
    bool rsa = EVP_PKEY_is_a(pkey, "RSA");

    buf_addf(json, "%s{\"kty\":\"%s\"", json->len && json->data[json->len - 1] == '}' ? "," : "",
             rsa ? "RSA" : "EC\",\"crv\":\"P-256");
    add_number(json, rsa ? "n" : "x", pkey, rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X,
               rsa ? 0 : 32);
    add_number(json, rsa ? "e" : "y", pkey, rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y,
               rsa ? 0 : 32);
    buf_addf(json, "%s}", more);
}

static inline size_t raw_of_der(uint8_t *signature, size_t len)
{
    const uint8_t *at = signature;
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &at, (long)len);

    assert_non_null(parsed);
    BN_bn2binpad(ECDSA_SIG_get0_r(parsed), signature, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(parsed), signature + 32, 32);
    ECDSA_SIG_free(parsed);
    return 64;
}

/* A JWT in *out, emptied first; pss: PS256. */
static inline struct slice sign_jwt(struct buf *out, EVP_PKEY *pkey, bool pss, const char *header,
                                    const char *claims)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *details;
    uint8_t signature[1024];
    size_t len = sizeof signature;

    buf_reset(out);
    token_base64url_add(out, header, strlen(header));
    buf_add_char(out, '.');
    token_base64url_add(out, claims, strlen(claims));
    assert_int_equal(EVP_DigestSignInit(context, &details, EVP_sha256(), NULL, pkey), 1);
    if (pss) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(details, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    assert_int_equal(EVP_DigestSign(context, signature, &len, (const uint8_t *)out->data, out->len),
                     1);
    EVP_MD_CTX_free(context);
    if (!EVP_PKEY_is_a(pkey, "RSA"))
        len = raw_of_der(signature, len);
    buf_add_char(out, '.');
    token_base64url_add(out, signature, len);
    assert_false(out->failed);
    return buf_slice(out);
}

/* Reads the lines of tests/vectors/wycheproof_*.txt, from the project's root. False at the end. */
struct vector_line {
    char *text; /* with NULs behind the words */
    size_t size;
    char *words[5];
    size_t count;
};

static inline bool vector_next(FILE *file, struct vector_line *line)
{
    while (getline(&line->text, &line->size, file) > 0) {
        char *rest = line->text, *word;
        rest[strcspn(rest, "\n")] = 0;
        if (*rest == '#' || !*rest)
            continue;
        for (line->count = 0; line->count < 5 && (word = strsep(&rest, " "));)
            line->words[line->count++] = word;
        return true;
    }
    free(line->text);
    return false;
}

static inline FILE *vectors(const char *name)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "tests/vectors/%s", name);
    file = fopen(path, "r");
    if (!file)
        fail_msg("%s: not found; run from the project's root", path);
    return file;
}

#endif
