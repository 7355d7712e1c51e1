/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012), as published: 64 bits of result, and the variant of
 * 128.
 *
 * Two rounds for each word of input, four to finish. The hash is fast for short inputs such as
 * addresses, and without the key nobody can tell which inputs collide.
 */
#include "common/hash.h"

#include <string.h>

struct siphash {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate64(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t read_le64(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static void sip_rounds(struct siphash *s, int rounds)
{
    while (rounds-- > 0) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotate64(s->v1, 13) ^ s->v0;
        s->v3 = rotate64(s->v3, 16) ^ s->v2;
        s->v0 = rotate64(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotate64(s->v1, 17) ^ s->v2;
        s->v3 = rotate64(s->v3, 21) ^ s->v0;
        s->v2 = rotate64(s->v2, 32);
    }
}

static void absorb(struct siphash *s, uint64_t word)
{
    s->v3 ^= word;
    sip_rounds(s, 2);
    s->v0 ^= word;
}

/* The last word: the bytes of the input past the last whole word, zeros, and the length modulo 256
 * in the top byte. */
static uint64_t last_word(const uint8_t *rest, size_t len)
{
    uint8_t bytes[8] = { 0 };

    if (len % 8 != 0)
        memcpy(bytes, rest, len % 8);
    bytes[7] = (uint8_t)len;
    return read_le64(bytes);
}

static struct siphash sip_start(const uint8_t key[16], const void *data, size_t len,
                                uint64_t variant)
{
    uint64_t k0 = read_le64(key), k1 = read_le64(key + 8);
    const uint8_t *p = data;
    size_t whole = len / 8;
    struct siphash s = {
        .v0 = k0 ^ UINT64_C(0x736f6d6570736575), /* "somepseudorandomlygeneratedbytes" */
        .v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ variant,
        .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = k1 ^ UINT64_C(0x7465646279746573),
    };

    for (size_t i = 0; i < whole; i++)
        absorb(&s, read_le64(p + i * 8));
    absorb(&s, last_word(whole ? p + whole * 8 : p, len));
    return s;
}

static uint64_t sip_result(struct siphash *s)
{
    sip_rounds(s, 4);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t hash64(const uint8_t key[16], const void *data, size_t len)
{
    struct siphash s = sip_start(key, data, len, 0);

    s.v2 ^= 0xff;
    return sip_result(&s);
}

void hash128(const uint8_t key[16], const void *data, size_t len, uint64_t out[2])
{
    struct siphash s = sip_start(key, data, len, 0xee);

    s.v2 ^= 0xee;
    out[0] = sip_result(&s);
    s.v1 ^= 0xdd;
    out[1] = sip_result(&s);
}
