#include "common/sha1.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_digest(const void *data, size_t len, const char *expected)
{
    uint8_t digest[20];
    char text[41];

    sha1(data, len, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

static void the_vectors_of_fips_180_hold(void **state)
{
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const char long_text[] = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                                    "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    (void)state;
    assert_digest("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_digest(NULL, 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_digest(two_blocks, strlen(two_blocks), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    assert_digest(long_text, strlen(long_text), "a49b2446a02c645bf419f995b67091253a04a259");
}

static void a_million_letters_hold(void **state)
{
    char *text = malloc(1000000);
    (void)state;
    assert_non_null(text);
    memset(text, 'a', 1000000);
    assert_digest(text, 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    free(text);
}

/* The digest of all digests of 0 to 200 letters; the padding crosses every edge of a block. The
 * figure was made with Python's hashlib. */
static void every_length_across_the_blocks_edges_holds(void **state)
{
    uint8_t digests[201][20];
    char text[200];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 26);
    for (size_t len = 0; len <= sizeof text; len++)
        sha1(text, len, digests[len]);
    assert_digest(digests, sizeof digests, "226c2f7739c1bb4dd58fe7165ff2d62f909306d4");
}

static void the_sample_key_of_rfc_6455_gives_its_accept(void **state)
{
    static const char text[] = "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    (void)state;
    assert_digest(text, strlen(text), "b37a4f2cc0624f1690f64606cf385945b2bec4ea");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_fips_180_hold),
        cmocka_unit_test(a_million_letters_hold),
        cmocka_unit_test(every_length_across_the_blocks_edges_holds),
        cmocka_unit_test(the_sample_key_of_rfc_6455_gives_its_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
