/*
 * SipHash-2-4 against the reference vectors published with it (key 00..0f, input 00, 01, ..., of
 * the given length): some of vectors.h of the reference implementation, first and last bytes of a
 * word.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/hash.h"

#include <string.h>

static void fill(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)i;
}

static void hash64_gives_the_published_results(void **state)
{
    static const struct {
        size_t len;
        uint64_t result;
    } vectors[] = {
        { 0, UINT64_C(0x726fdb47dd0e0e31) },  { 1, UINT64_C(0x74f839c593dc67fd) },
        { 2, UINT64_C(0x0d6c8009d9a94f5a) },  { 3, UINT64_C(0x85676696d7fb7e2d) },
        { 4, UINT64_C(0xcf2794e0277187b7) },  { 5, UINT64_C(0x18765564cd99a68d) },
        { 6, UINT64_C(0xcbc9466e58fee3ce) },  { 7, UINT64_C(0xab0200f58b01d137) },
        { 8, UINT64_C(0x93f5f5799a932462) },  { 9, UINT64_C(0x9e0082df0ba9e4b0) },
        { 15, UINT64_C(0xa129ca6149be45e5) },
    };
    uint8_t key[16], input[64];

    (void)state;
    fill(key, sizeof key);
    fill(input, sizeof input);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        assert_true(hash64(key, input, vectors[i].len) == vectors[i].result);
}

static void hash128_gives_the_published_results(void **state)
{
    static const uint8_t empty[16] = { 0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                       0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93 };
    static const uint8_t one[16] = { 0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44,
                                     0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45 };
    uint8_t key[16], bytes[16];
    uint64_t out[2];

    (void)state;
    fill(key, sizeof key);
    for (size_t len = 0; len < 2; len++) {
        hash128(key, "\0", len, out);
        for (size_t i = 0; i < 16; i++)
            bytes[i] = (uint8_t)(out[i / 8] >> (i % 8 * 8));
        assert_memory_equal(bytes, len ? one : empty, 16);
    }
}

static void alignment_and_neighbours_do_not_matter(void **state)
{
    uint8_t key[16], input[64], shifted[80];

    (void)state;
    fill(key, sizeof key);
    fill(input, sizeof input);
    for (size_t shift = 0; shift < 9; shift++) {
        memset(shifted, 0xaa, sizeof shifted);
        memcpy(shifted + shift, input, 23);
        assert_true(hash64(key, shifted + shift, 23) == hash64(key, input, 23));
    }
}

static void another_key_gives_another_hash(void **state)
{
    uint8_t key[16], other[16];

    (void)state;
    fill(key, sizeof key);
    fill(other, sizeof other);
    other[15] ^= 1;
    assert_true(hash64(key, "alice", 5) != hash64(other, "alice", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash64_gives_the_published_results),
        cmocka_unit_test(hash128_gives_the_published_results),
        cmocka_unit_test(alignment_and_neighbours_do_not_matter),
        cmocka_unit_test(another_key_gives_another_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
