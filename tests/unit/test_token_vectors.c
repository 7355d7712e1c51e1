/*
 * The published vectors (tests/vectors), and what we issue against what we verify.
 *
 * The vectors' payloads are no claims of ours, so what is held is one step earlier: that the
 * signature is found good, byte for byte the payload comes out, and that signing gives the
 * published token.
 */
#include "tests/unit/token_fixture.h"

struct record {
    char line[24][1200]; /* "name value" */
    size_t count;
};

static const char *field(const struct record *record, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < record->count; i++)
        if (strncmp(record->line[i], name, len) == 0 &&
            (record->line[i][len] == ' ' || !record->line[i][len]))
            return record->line[i] + len + (record->line[i][len] == ' ');
    return "";
}

static FILE *vectors_open(const char *path)
{
    FILE *file = fopen(path, "r"); /* from the project's root, where make runs us */

    if (!file)
        fail_msg("%s: not found; run from the project's root", path);
    return file;
}

static bool vectors_next(FILE *file, struct record *record)
{
    char line[sizeof record->line[0]];

    record->count = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#')
            continue;
        if (!line[0] && record->count)
            return true;
        if (line[0])
            memcpy(record->line[record->count++], line, sizeof line);
    }
    return record->count > 0;
}

static size_t unhex(const char *hex, uint8_t *out, size_t size)
{
    size_t len;

    assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

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

static void jws_examples_of_the_rfcs_open(void **state)
{
    FILE *file = vectors_open("tests/vectors/jws.txt");
    struct record record;
    int count = 0;

    (void)state;
    while (vectors_next(file, &record)) {
        bool hmac = strcmp(field(&record, "kty"), "hmac") == 0;
        uint8_t key[128], payload[256];
        struct slice token = slice_of(field(&record, "token"));
        struct token_opened opened;
        size_t key_len, payload_len;

        assert_true(
            token_base64url_decode(slice_of(field(&record, "key")), key, sizeof key, &key_len));
        assert_true(token_base64url_decode(slice_of(field(&record, "payload")), payload,
                                           sizeof payload, &payload_len));
        forge.keys[hmac].bytes = key;
        forge.keys[hmac].len = key_len;
        assert_int_equal(token_jwt_open(&forge.config, token, NOW, &opened), TOKEN_GOOD);
        assert_int_equal(opened.payload_len, payload_len);
        assert_memory_equal(opened.payload, payload, payload_len);
        assert_int_equal(verdict(&forge, token, NOW), TOKEN_BAD_CLAIMS); /* it has no sub */
        key[0] ^= 1;
        assert_int_equal(verdict(&forge, token, NOW), TOKEN_BAD_SIGNATURE);
        count++;
    }
    assert_int_equal(count, 2);
    fclose(file);
}

static void the_rfc_8037_seed_makes_its_public_key(void **state)
{
    FILE *file = vectors_open("tests/vectors/jws.txt");
    struct record record;
    uint8_t seed[32], key[32], made[32];
    size_t len;

    (void)state;
    assert_true(vectors_next(file, &record));
    assert_true(token_base64url_decode(slice_of(field(&record, "seed")), seed, 32, &len));
    assert_true(token_base64url_decode(slice_of(field(&record, "key")), key, 32, &len));
    assert_int_equal(token_public_of_seed(seed, made), OK);
    assert_memory_equal(made, key, 32);
    fclose(file);
}

/* The vector's signature, made again from its pieces; the implicit assertion is a piece as well. */
static void check_paseto_signing(const struct record *record)
{
    const char *token = field(record, "token") + strlen(TOKEN_PASETO_HEADER);
    struct slice pieces[] = { SLICE(TOKEN_PASETO_HEADER), slice_of(field(record, "payload")),
                              slice_of(field(record, "footer")),
                              slice_of(field(record, "implicit-assertion")) };
    uint8_t body[512], signature[64];
    size_t body_len;
    struct buf text;

    unhex(field(record, "secret-key-seed"), forge.seed, 32);
    unhex(field(record, "public-key"), forge.public_key, 32);
    buf_init(&text, 4096);
    assert_int_equal(token_pae(pieces, 4, &text), OK);
    forge_sign(&forge, buf_slice(&text), signature);
    assert_true(token_base64url_decode(slice_make(token, strcspn(token, ".")), body, sizeof body,
                                       &body_len));
    assert_int_equal(body_len, pieces[1].len + 64);
    assert_memory_equal(body, pieces[1].data, pieces[1].len);
    assert_memory_equal(body + pieces[1].len, signature, 64);
    buf_fini(&text);
}

static void check_paseto(const struct record *record)
{
    struct slice token = slice_of(field(record, "token"));
    struct token_opened opened;
    enum token_fault fault;

    if (strcmp(field(record, "expect-fail"), "true") == 0) {
        fault = verdict(&forge, token, NOW);
        assert_int_equal(fault, strcmp(field(record, "name"), "4-F-2") == 0 ? TOKEN_BAD_SIGNATURE
                                                                            : TOKEN_MALFORMED);
        return;
    }
    check_paseto_signing(record);
    fault = token_paseto_open(&forge.config, token, NOW, &opened);
    if (*field(record,
               "implicit-assertion")) { /* ours is empty, so a token made with one is not for us */
        assert_int_equal(fault, TOKEN_BAD_SIGNATURE);
        return;
    }
    assert_int_equal(fault, TOKEN_GOOD);
    assert_int_equal(opened.payload_len, strlen(field(record, "payload")));
    assert_memory_equal(opened.payload, field(record, "payload"), opened.payload_len);
    assert_int_equal(verdict(&forge, token, NOW), TOKEN_BAD_CLAIMS); /* it has no sub */
}

static void paseto_vectors_hold(void **state)
{
    FILE *file = vectors_open("tests/vectors/paseto_v4_public.txt");
    struct record record;
    int count = 0;

    (void)state;
    snprintf(forge.keys[0].kid, sizeof forge.keys[0].kid, "%s",
             "zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN");
    while (vectors_next(file, &record)) {
        check_paseto(&record);
        count++;
    }
    assert_int_equal(count, 7);
    fclose(file);
}

/* From the specification's own examples, Common.md. */
static void pae_is_as_published(void **state)
{
    struct slice test = SLICE("test"), empty = SLICE("");
    struct buf out;

    (void)state;
    buf_init(&out, 256);
    assert_int_equal(token_pae(NULL, 0, &out), OK);
    assert_memory_equal(out.data, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(out.len, 8);
    buf_reset(&out);
    token_pae(&empty, 1, &out);
    assert_int_equal(out.len, 16);
    assert_memory_equal(out.data, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    buf_reset(&out);
    token_pae(&test, 1, &out);
    assert_int_equal(out.len, 20);
    assert_memory_equal(out.data, "\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0test", 20);
    buf_fini(&out);
}

static struct grant *issue(struct token_request *request)
{
    bool hmac = request->format == TOKEN_JWT_HS256;
    struct grant *grant = NULL;
    struct buf token;

    buf_init(&token, 8192);
    assert_int_equal(token_issue(request, hmac ? forge.secret : forge.seed,
                                 hmac ? sizeof forge.secret : sizeof forge.seed, &token),
                     OK);
    assert_int_equal(token_verify(&forge.config, buf_slice(&token), NOW, &grant), TOKEN_GOOD);
    buf_fini(&token);
    return grant;
}

static void what_is_issued_verifies_in_every_format(void **state)
{
    static const char *const send[] = { "bob", "/erp/*", NULL };
    static const char *const none[] = { NULL };
    static char audience[] = "po \"1\"", issuer[] = "idp\\";

    (void)state;
    forge.config.auth.audience = audience;
    forge.config.auth.issuer = issuer;
    for (int format = TOKEN_JWT_EDDSA; format <= TOKEN_PASETO; format++) {
        struct token_request request = { .format = (enum token_format)format,
                                         .kid = format == TOKEN_JWT_HS256 ? "h1" : "e1",
                                         .sub = "ali\"ce \xe5\xbc\xa0",
                                         .audience = audience,
                                         .issuer = issuer,
                                         .now_s = NOW,
                                         .ttl_s = 60,
                                         .send = send,
                                         .relay = none,
                                         .groups = send,
                                         .admin = true };
        struct grant *grant = issue(&request);
        assert_string_equal(grant->sub, "ali\"ce \xe5\xbc\xa0");
        assert_int_equal(strlen(grant->jti), 22);
        assert_true(grant->expires_at == NOW + 60);
        assert_int_equal(grant->send.count, 2);
        assert_int_equal(grant->groups.count, 2);
        assert_int_equal(grant->relay.count, 0);
        assert_true(grant->admin && !grant->broadcast);
        grant_unref(grant);
    }
}

static void an_issued_token_can_do_without_kid_end_and_po(void **state)
{
    (void)state;
    forge.config.auth.allow_unending = true;
    for (int format = TOKEN_JWT_EDDSA; format <= TOKEN_PASETO; format++) {
        struct token_request request = {
            .format = (enum token_format)format, .sub = "a", .jti = "mine", .now_s = NOW
        };
        struct grant *grant = issue(&request);
        assert_string_equal(grant->jti, "mine");
        assert_true(grant->expires_at == INT64_MAX);
        assert_int_equal(grant->send.count, 1);
        grant_unref(grant);
    }
}

static void nothing_is_issued_that_no_server_would_take(void **state)
{
    char many[5000];
    const char *const list[] = { many, NULL };
    struct token_request good = { .sub = "a", .now_s = NOW, .ttl_s = 1 }, bad;
    struct buf out;

    (void)state;
    memset(many, 'm', sizeof many - 1);
    many[sizeof many - 1] = 0;
    buf_init(&out, 1 << 16);
#define REFUSED(member, value, err)                                                                \
    bad = good;                                                                                    \
    bad.member = value;                                                                            \
    assert_int_equal(token_issue(&bad, forge.seed, 32, &out), err)
    REFUSED(sub, NULL, ERR_BAD);
    REFUSED(sub, "postmaster", ERR_BAD);
    REFUSED(sub, "#all", ERR_BAD);
    REFUSED(sub, "", ERR_BAD);
    REFUSED(jti, many, ERR_BAD);
    REFUSED(ttl_s, -1, ERR_BAD);
    REFUSED(ttl_s, INT64_MAX, ERR_BAD);
    REFUSED(now_s, -1, ERR_BAD);
    REFUSED(send, list, ERR_FULL);
    assert_int_equal(token_issue(&good, forge.seed, 31, &out), ERR_BAD);
    good.format = TOKEN_JWT_HS256;
    assert_int_equal(token_issue(&good, forge.secret, 31, &out), ERR_BAD);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void keypairs_are_new_each_time(void **state)
{
    uint8_t public_a[32], public_b[32], seed_a[32], seed_b[32], made[32];

    (void)state;
    token_keypair(public_a, seed_a);
    token_keypair(public_b, seed_b);
    assert_memory_not_equal(seed_a, seed_b, 32);
    assert_memory_not_equal(public_a, public_b, 32);
    token_public_of_seed(seed_a, made);
    assert_memory_equal(made, public_a, 32);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(jws_examples_of_the_rfcs_open),
        TEST(the_rfc_8037_seed_makes_its_public_key),
        TEST(paseto_vectors_hold),
        TEST(pae_is_as_published),
        TEST(what_is_issued_verifies_in_every_format),
        TEST(an_issued_token_can_do_without_kid_end_and_po),
        TEST(nothing_is_issued_that_no_server_would_take),
        TEST(keypairs_are_new_each_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
