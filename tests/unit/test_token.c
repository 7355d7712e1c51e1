/* Tokens up to their claims: form, key, algorithm, signature (docs/protocol.md, section 6). */
#include "tests/unit/token_fixture.h"

static struct forge forge;

static int setup(void **state)
{
    (void)state;
    forge_init(&forge);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    forge_fini(&forge);
    return 0;
}

static enum token_fault ed25519(const char *header)
{
    return verdict(&forge, forge_ed25519(&forge, header, SLICE(CLAIMS)), NOW);
}

static enum token_fault hs256(const char *header)
{
    return verdict(
        &forge, forge_hmac(&forge, header, SLICE(CLAIMS), forge.secret, sizeof forge.secret), NOW);
}

static void a_good_token_of_each_format_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(ed25519(HEADER_E1), TOKEN_GOOD);
    assert_int_equal(hs256(HEADER_H1), TOKEN_GOOD);
    assert_int_equal(
        verdict(&forge,
                forge_paseto(&forge, "{\"sub\":\"alice\",\"exp\":\"2026-09-21T15:14:20+01:00\"}",
                             "{\"kid\":\"e1\"}"),
                NOW),
        TOKEN_GOOD);
}

static void the_algorithm_is_the_keys_and_the_headers_is_only_compared(void **state)
{
    static const struct {
        const char *header;
        enum token_fault fault;
    } rows[] = {
        { "{\"alg\":\"none\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"none\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"None\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"ES256\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"RS256\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"HS384\",\"kid\":\"h1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"HS512\",\"kid\":\"h1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"Ed25519\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"EdDSA \",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\" EdDSA\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"eddsa\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"EdDSA\",\"kid\":\"h1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"alg\":\"HS256\",\"kid\":\"e1\"}", TOKEN_BAD_ALGORITHM },
        { "{\"kid\":\"e1\"}", TOKEN_MALFORMED },
        { "{}", TOKEN_MALFORMED },
        { "{\"alg\":null,\"kid\":\"e1\"}", TOKEN_MALFORMED },
        { "{\"alg\":[\"EdDSA\"],\"kid\":\"e1\"}", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\\u0000\",\"kid\":\"e1\"}", TOKEN_MALFORMED },
        { "{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"e1\"}", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",\"\\u0061lg\":\"EdDSA\",\"kid\":\"e1\"}", TOKEN_MALFORMED },
        { "{\"ALG\":\"EdDSA\",\"kid\":\"e1\"}", TOKEN_MALFORMED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (ed25519(rows[i].header) != rows[i].fault || hs256(rows[i].header) != rows[i].fault)
            fail_msg("%s: ed25519 %d, hs256 %d", rows[i].header, (int)ed25519(rows[i].header),
                     (int)hs256(rows[i].header));
    }
}

static void an_unsigned_token_is_refused_by_its_algorithm(void **state)
{
    (void)state;
    forge_head(&forge, SLICE("{\"alg\":\"none\"}"), SLICE(CLAIMS));
    buf_add_char(&forge.token, '.');
    assert_int_equal(verdict(&forge, buf_slice(&forge.token), NOW), TOKEN_BAD_ALGORITHM);
    forge_head(&forge, SLICE(HEADER_E1), SLICE(CLAIMS));
    buf_add_char(&forge.token, '.');
    assert_int_equal(verdict(&forge, buf_slice(&forge.token), NOW), TOKEN_BAD_SIGNATURE);
}

/* The classic: a public key is public, so a server that lets the header choose HS256 is anybody's.
 */
static void the_public_key_is_no_secret(void **state)
{
    static const char *const headers[] = { "{\"alg\":\"HS256\",\"kid\":\"e1\"}",
                                           "{\"alg\":\"HS256\"}", HEADER_H1 };
    static const enum token_fault faults[] = { TOKEN_BAD_ALGORITHM, TOKEN_BAD_SIGNATURE,
                                               TOKEN_BAD_SIGNATURE };

    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(verdict(&forge,
                                 forge_hmac(&forge, headers[i], SLICE(CLAIMS), forge.public_key,
                                            sizeof forge.public_key),
                                 NOW),
                         faults[i]);
    forge.config.auth.key_count = 1; /* the Ed25519 key alone */
    assert_int_equal(verdict(&forge,
                             forge_hmac(&forge, "{\"alg\":\"HS256\"}", SLICE(CLAIMS),
                                        forge.public_key, sizeof forge.public_key),
                             NOW),
                     TOKEN_UNKNOWN_KEY);
}

static void an_empty_secret_signs_nothing(void **state)
{
    (void)state;
    assert_int_equal(
        verdict(&forge, forge_hmac(&forge, HEADER_H1, SLICE(CLAIMS), (const uint8_t *)"", 0), NOW),
        TOKEN_BAD_SIGNATURE);
}

static void a_kid_is_only_looked_up(void **state)
{
    static const char *const kids[] = {
        "../../dev/null",
        "../../etc/passwd",
        "' OR 1=1 --",
        "\\\" OR \\\"\\\"=\\\"",
        "",
        "e1 ",
        "E1",
        "e",
        "e11",
        "*",
        "e1\\u0001",
        "/",
        "e1.pub",
        "\\u00e91",
    };
    char header[256];

    (void)state;
    for (size_t i = 0; i < sizeof kids / sizeof kids[0]; i++) {
        snprintf(header, sizeof header, "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", kids[i]);
        assert_int_equal(ed25519(header), TOKEN_UNKNOWN_KEY);
        snprintf(header, sizeof header, "{\"kid\":\"%s\"}", kids[i]);
        assert_int_equal(
            verdict(&forge,
                    forge_paseto(&forge, "{\"sub\":\"alice\",\"exp\":\"2026-09-21T14:14:20Z\"}",
                                 header),
                    NOW),
            TOKEN_UNKNOWN_KEY);
    }
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\",\"kid\":\"\\u0065\\u0031\"}"), TOKEN_GOOD);
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\",\"kid\":\"e1\\u0000\"}"), TOKEN_MALFORMED);
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\",\"kid\":1}"), TOKEN_MALFORMED);
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\",\"kid\":null}"), TOKEN_MALFORMED);
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\",\"kid\":\"e1\",\"kid\":\"e1\"}"), TOKEN_MALFORMED);
}

static void a_huge_kid_is_refused_before_it_is_read(void **state)
{
    char *header = malloc(65536 + 64);
    int start = snprintf(header, 64, "{\"alg\":\"EdDSA\",\"kid\":\"");

    (void)state;
    memset(header + start, 'k', 65536);
    memcpy(header + start + 65536, "\"}", 3);
    assert_int_equal(ed25519(header), TOKEN_MALFORMED);
    memcpy(header + start + 1000, "\"}", 3);
    assert_int_equal(ed25519(header), TOKEN_UNKNOWN_KEY);
    free(header);
}

static void without_kid_there_must_be_no_choice(void **state)
{
    const char *claims = "{\"sub\":\"alice\",\"exp\":\"2026-09-21T14:14:20Z\"}";

    (void)state;
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\"}"), TOKEN_GOOD);
    assert_int_equal(hs256("{\"alg\":\"HS256\"}"), TOKEN_GOOD);
    assert_int_equal(verdict(&forge, forge_paseto(&forge, claims, NULL), NOW), TOKEN_GOOD);
    assert_int_equal(verdict(&forge, forge_paseto(&forge, claims, "{}"), NOW), TOKEN_GOOD);
    forge_key(&forge, "e2", CONFIG_KTY_ED25519);
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\"}"), TOKEN_UNKNOWN_KEY);
    assert_int_equal(hs256("{\"alg\":\"HS256\"}"), TOKEN_GOOD);
    assert_int_equal(verdict(&forge, forge_paseto(&forge, claims, NULL), NOW), TOKEN_UNKNOWN_KEY);
    forge.config.auth.key_count = 0;
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\"}"), TOKEN_UNKNOWN_KEY);
    assert_int_equal(ed25519(HEADER_E1), TOKEN_UNKNOWN_KEY);
}

static void a_key_of_the_past_is_unknown(void **state)
{
    (void)state;
    forge.keys[0].not_after = NOW;
    assert_int_equal(ed25519(HEADER_E1), TOKEN_GOOD);
    forge.keys[0].not_after = NOW - 1;
    assert_int_equal(ed25519(HEADER_E1), TOKEN_UNKNOWN_KEY);
    assert_int_equal(ed25519("{\"alg\":\"EdDSA\"}"), TOKEN_UNKNOWN_KEY);
}

static void the_header_is_read_strictly_and_the_unknown_ignored(void **state)
{
    static const struct {
        const char *header;
        enum token_fault fault;
    } rows[] = {
        { "{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}", TOKEN_GOOD },
        { "{\"alg\":\"EdDSA\",\"typ\":\"jwt\"}", TOKEN_GOOD },
        { "{\"alg\":\"EdDSA\",\"typ\":\"AT+jwt\"}", TOKEN_GOOD },
        { "{\"alg\":\"EdDSA\",\"typ\":\"JWE\"}", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",\"typ\":\"\"}", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",\"typ\":7}", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",\"crit\":[\"exp\"]}", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",\"crit\":[]}", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",\"x\":{\"alg\":\"none\"},\"jku\":\"http://x\"}", TOKEN_GOOD },
        { "{\"alg\":\"EdDSA\"} ", TOKEN_GOOD },
        { "{\"alg\":\"EdDSA\"}x", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",}", TOKEN_MALFORMED },
        { "[\"alg\",\"EdDSA\"]", TOKEN_MALFORMED },
        { "\"EdDSA\"", TOKEN_MALFORMED },
        { "", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",\"x\":\"\xff\"}", TOKEN_MALFORMED },
        { "{\"alg\":\"EdDSA\",\"x\":[[[[[[[[[[]]]]]]]]]]}", TOKEN_MALFORMED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (ed25519(rows[i].header) != rows[i].fault)
            fail_msg("%s: %d", rows[i].header, (int)ed25519(rows[i].header));
}

static void wrong_parts_are_malformed(void **state)
{
    static const char *const tokens[] = {
        "a",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "a.b.c.d.e",
        "Bearer x.y.z",
        "\n",
        "v4.public.",
        "v4.public.AAAA",
        "v4.public..",
        "v4.public.AAAA.",
        "v4.local.AAAA",
        "v3.public.AAAA",
        "v4.public",
        "V4.public.AAAA",
        "eyJhbGciOiJFZERTQSJ9..",
        "eyJhbGciOiJFZERTQSJ9.e30=.AAAA",
        "{}.{}.{}",
    };

    (void)state;
    assert_int_equal(verdict(&forge, SLICE(""), NOW), TOKEN_ABSENT);
    assert_int_equal(verdict(&forge, (struct slice){ NULL, 0 }, NOW), TOKEN_ABSENT);
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        enum token_fault fault = verdict(&forge, slice_of(tokens[i]), NOW);
        /* The one with an empty payload and signature has a good header: its signature is what
         * fails. */
        if (fault != (i == 18 ? TOKEN_BAD_SIGNATURE : TOKEN_MALFORMED))
            fail_msg("%s: %d", tokens[i], (int)fault);
    }
}

static void the_length_is_checked_before_anything_else(void **state)
{
    char claims[TOKEN_BYTES_MAX];
    bool at_limit = false;

    (void)state;
    for (size_t pad = 2800; pad < 3000; pad++) {
        int start =
            snprintf(claims, sizeof claims, "{\"sub\":\"alice\",\"exp\":1790000060,\"x\":\"");
        memset(claims + start, 'x', pad);
        memcpy(claims + start + pad, "\"}", 3);
        struct slice token = forge_ed25519(&forge, HEADER_E1, slice_of(claims));
        at_limit |= token.len == TOKEN_BYTES_MAX || token.len == TOKEN_BYTES_MAX - 1;
        assert_int_equal(verdict(&forge, token, NOW),
                         token.len <= TOKEN_BYTES_MAX ? TOKEN_GOOD : TOKEN_MALFORMED);
    }
    assert_true(at_limit);
    char *huge = calloc(1, 1 << 20);
    assert_int_equal(verdict(&forge, slice_make(huge, 1 << 20), NOW), TOKEN_MALFORMED);
    free(huge);
}

static struct slice make(int which)
{
    if (which == 0)
        return forge_ed25519(&forge, HEADER_E1, SLICE(CLAIMS));
    if (which == 1)
        return forge_hmac(&forge, HEADER_H1, SLICE(CLAIMS), forge.secret, sizeof forge.secret);
    return forge_paseto(&forge, "{\"sub\":\"alice\",\"exp\":\"2026-09-21T14:14:20Z\"}",
                        "{\"kid\":\"e1\"}");
}

static void no_flipped_bit_is_ever_accepted(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct slice token = make(which);
        assert_int_equal(verdict(&forge, token, NOW), TOKEN_GOOD);
        for (size_t at = 0; at < token.len; at++)
            for (int bit = 0; bit < 8; bit++) {
                forge.token.data[at] = (char)(forge.token.data[at] ^ (1 << bit));
                assert_int_not_equal(verdict(&forge, token, NOW), TOKEN_GOOD);
                forge.token.data[at] = (char)(forge.token.data[at] ^ (1 << bit));
            }
    }
}

static void no_prefix_and_no_longer_text_is_accepted(void **state)
{
    static const char *const tails[] = {
        "=", "==", "A", "AA", "AAAA", ".", " ", "\n", "\t", ".e30", ".eyJraWQiOiJlMSJ9"
    };
    char longer[2048];

    (void)state;
    for (int which = 0; which < 3; which++) {
        struct slice token = make(which);
        for (size_t len = 0; len < token.len; len++)
            assert_int_not_equal(verdict(&forge, slice_make(token.data, len), NOW), TOKEN_GOOD);
        for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
            snprintf(longer, sizeof longer, "%.*s%s", (int)token.len, token.data, tails[i]);
            assert_int_not_equal(verdict(&forge, slice_of(longer), NOW), TOKEN_GOOD);
            snprintf(longer, sizeof longer, "%s%.*s", tails[i], (int)token.len, token.data);
            assert_int_not_equal(verdict(&forge, slice_of(longer), NOW), TOKEN_GOOD);
        }
    }
}

/* 64 bytes of signature leave 4 bits behind the last byte: 15 other spellings of the same bytes. */
static void a_signature_has_one_spelling(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=";

    (void)state;
    for (int which = 0; which < 2; which++) {
        struct slice token = make(which);
        assert_false(forge.token.failed);
        char right = token.data[token.len - 1];
        for (size_t i = 0; alphabet[i]; i++) {
            forge.token.data[token.len - 1] = alphabet[i];
            if (alphabet[i] != right)
                assert_int_not_equal(verdict(&forge, token, NOW), TOKEN_GOOD);
        }
    }
}

static void base64url_is_strict(void **state)
{
    static const char *const wrong[] = { "A",    "AB",   "AAB",  "AAAA=", "AA==",     "AA A",
                                         "AA\n", "A+AA", "A/AA", "AAAAA", "\xc3\xa9", "AA\0A" };
    uint8_t out[64];
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (i != 11)
            assert_false(token_base64url_decode(slice_of(wrong[i]), out, sizeof out, &len));
    assert_false(token_base64url_decode(slice_make("AA\0A", 4), out, sizeof out, &len));
    assert_true(token_base64url_decode(SLICE("-_8"), out, sizeof out, &len));
    assert_int_equal(len, 2);
    assert_int_equal(out[0] << 8 | out[1], 0xfbff);
    assert_false(token_base64url_decode(SLICE("AAAA"), out, 2, &len));
}

/* L + s instead of s (RFC 8032 8.4), and keys of small order, are libsodium's to refuse: it does.
 */
static void a_malleable_ed25519_signature_is_refused(void **state)
{
    static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
                                       0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10 };
    uint8_t signature[64];
    unsigned carry = 0;

    (void)state;
    forge_head(&forge, SLICE(HEADER_E1), SLICE(CLAIMS));
    forge_sign(&forge, buf_slice(&forge.token), signature);
    for (size_t i = 0; i < 32; i++) {
        carry += signature[32 + i] + (unsigned)order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    buf_add_char(&forge.token, '.');
    token_base64url_add(&forge.token, signature, sizeof signature);
    assert_int_equal(verdict(&forge, buf_slice(&forge.token), NOW), TOKEN_BAD_SIGNATURE);

    memset(forge.public_key, 0, sizeof forge.public_key);
    forge.public_key[0] = 1; /* the neutral element: R = it, s = 0 would verify for any text */
    memset(signature, 0, sizeof signature);
    signature[0] = 1;
    forge_head(&forge, SLICE(HEADER_E1), SLICE(CLAIMS));
    buf_add_char(&forge.token, '.');
    token_base64url_add(&forge.token, signature, sizeof signature);
    assert_int_equal(verdict(&forge, buf_slice(&forge.token), NOW), TOKEN_BAD_SIGNATURE);
}

static void a_paseto_is_only_for_ed25519_keys_and_its_footer_is_signed(void **state)
{
    const char *claims = "{\"sub\":\"alice\",\"exp\":\"2026-09-21T14:14:20Z\"}";
    char footer[TOKEN_FOOTER_BYTES_MAX + 32];
    struct slice token;

    (void)state;
    assert_int_equal(verdict(&forge, forge_paseto(&forge, claims, "{\"kid\":\"h1\"}"), NOW),
                     TOKEN_BAD_ALGORITHM);
    assert_int_equal(verdict(&forge, forge_paseto(&forge, claims, "not json"), NOW),
                     TOKEN_MALFORMED);
    assert_int_equal(verdict(&forge, forge_paseto(&forge, claims, "{\"kid\":7}"), NOW),
                     TOKEN_MALFORMED);
    assert_int_equal(
        verdict(&forge, forge_paseto(&forge, claims, "{\"kid\":\"e1\",\"kid\":\"e1\"}"), NOW),
        TOKEN_MALFORMED);
    assert_int_equal(verdict(&forge, forge_paseto(&forge, claims, "{\"kid\":\"e1\",\"a\":1}"), NOW),
                     TOKEN_GOOD);
    snprintf(footer, sizeof footer, "{\"kid\":\"e1\",\"a\":\"%0*d\"}", TOKEN_FOOTER_BYTES_MAX, 0);
    assert_int_equal(verdict(&forge, forge_paseto(&forge, claims, footer), NOW), TOKEN_MALFORMED);

    token = forge_paseto(&forge, claims, "{\"kid\":\"e1\"}");
    token.len = (size_t)((char *)memrchr(token.data, '.', token.len) - token.data);
    assert_int_equal(verdict(&forge, token, NOW), TOKEN_BAD_SIGNATURE); /* the footer was cut off */
    forge_paseto(&forge, claims, NULL);
    buf_add_text(&forge.token, ".e30");
    assert_int_equal(verdict(&forge, buf_slice(&forge.token), NOW), TOKEN_BAD_SIGNATURE);
}

static void every_fault_has_a_text(void **state)
{
    (void)state;
    for (int fault = 0; fault < TOKEN_FAULT_COUNT; fault++)
        assert_true(strlen(token_fault_text((enum token_fault)fault)) > 5);
    assert_string_equal(token_fault_text(TOKEN_EXPIRED), "token expired");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_good_token_of_each_format_is_accepted),
        TEST(the_algorithm_is_the_keys_and_the_headers_is_only_compared),
        TEST(an_unsigned_token_is_refused_by_its_algorithm),
        TEST(the_public_key_is_no_secret),
        TEST(an_empty_secret_signs_nothing),
        TEST(a_kid_is_only_looked_up),
        TEST(a_huge_kid_is_refused_before_it_is_read),
        TEST(without_kid_there_must_be_no_choice),
        TEST(a_key_of_the_past_is_unknown),
        TEST(the_header_is_read_strictly_and_the_unknown_ignored),
        TEST(wrong_parts_are_malformed),
        TEST(the_length_is_checked_before_anything_else),
        TEST(no_flipped_bit_is_ever_accepted),
        TEST(no_prefix_and_no_longer_text_is_accepted),
        TEST(a_signature_has_one_spelling),
        TEST(base64url_is_strict),
        TEST(a_malleable_ed25519_signature_is_refused),
        TEST(a_paseto_is_only_for_ed25519_keys_and_its_footer_is_signed),
        TEST(every_fault_has_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
