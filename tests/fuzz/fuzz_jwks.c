/*
 * Any bytes as a JWK Set. A set is refused with a line of report, or gives keys that keep to the
 * rules of their kind, that are the same after packing, and that verify no token by chance.
 *
 * The first byte selects whether others can read the file, and which token is tried.
 */
#include "config/changes.h"
#include "config/parts.h"
#include "worker/token/token_inside.h"
#include "worker/token/token_public.h"

#include <stdlib.h>

#define NOW INT64_C(1790000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static void check_keys(const struct config_key_set *set, bool guarded)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct config_key *key = &set->keys[i];
        must(key_len_good(key->kty, key->len) && key->not_after == INT64_MAX);
        must(jwk_kid_good(slice_of(key->kid)));
        must(guarded || key->kty != CONFIG_KTY_HMAC);
        for (size_t j = 0; j < i && *key->kid; j++)
            must(strcmp(key->kid, set->keys[j].kid) != 0);
    }
}

/* Two unsigned tokens with signatures of the lengths that keys have. */
static void try_tokens(const struct config *config, unsigned choice)
{
    static const char *const headers[] = { "{\"alg\":\"RS256\"}",
                                           "{\"alg\":\"ES256\",\"kid\":\"k\"}",
                                           "{\"alg\":\"PS256\"}", "{\"alg\":\"EdDSA\"}",
                                           "{\"alg\":\"HS256\"}" };
    static const size_t lengths[] = { 256, 64, 384, 64, 32 };
    static const uint8_t signature[384] = { 1 };
    struct grant *grant = NULL;
    struct buf token;

    choice %= sizeof lengths / sizeof lengths[0];
    buf_init(&token, 4096);
    token_base64url_add(&token, headers[choice], strlen(headers[choice]));
    buf_add_text(&token, ".e30.");
    token_base64url_add(&token, signature, lengths[choice]);
    must(token_verify(config, buf_slice(&token), NOW, &grant) != TOKEN_GOOD && !grant);
    buf_fini(&token);
}

static void repack(const struct config *config)
{
    struct config *back;
    struct buf packed;

    buf_init(&packed, 1 << 24);
    must(config_pack(config, &packed) == OK);
    back = config_unpack(buf_slice(&packed));
    must(back && config_diff(config, back, NULL, 0) == 0);
    config_free(back);
    buf_fini(&packed);
}

/* A config with its defaults; its JWK Set is still to be read. */
static struct config *plain_config(struct config_report *report)
{
    struct config *config = config_from_text(SLICE("{\"auth\":{\"keyDir\":\"\"}}"),
                                             "/nonexistent/fuzz.json", false, report);

    must(config != NULL);
    buf_reset(&report->warnings);
    return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_report report;
    struct draft draft = { .file = "fuzz.json", .report = &report };
    bool guarded;

    if (size < 1 || size > (300 << 10))
        return 0;
    must(token_init() == OK);
    guarded = data[0] & 1;
    config_report_init(&report);
    draft.config = plain_config(&report);
    jwks_read(&draft, slice_make(data + 1, size - 1), guarded);
    check_keys(&draft.config->auth.jwks, guarded);
    must(report.errors.len > 0 || draft.config->auth.jwks.count > 0);
    try_tokens(draft.config, data[0] >> 1);
    repack(draft.config);
    config_free(draft.config);
    config_report_fini(&report);
    return 0;
}
