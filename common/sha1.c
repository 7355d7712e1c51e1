/*
 * SHA-1 as FIPS 180-4 section 6.1 describes it: sixteen words a block, eighty rounds, in the
 * schedule's circular form (6.1.3). A handshake hashes one short text, so the code is written to be
 * read.
 */
#include "common/sha1.h"

#include <string.h>

enum { BLOCK = 64, LENGTH_AT = 56 };

static uint32_t rotate32(uint32_t x, unsigned bits)
{
    return x << bits | x >> (32 - bits);
}

static uint32_t load_word(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void store_word(uint8_t *at, uint32_t word)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(word >> (24 - 8 * i));
}

/* The sum of the function and the constant of round t (4.1.1, 4.2.1). */
static uint32_t round_term(unsigned t, uint32_t b, uint32_t c, uint32_t d)
{
    switch (t / 20) {
    case 0:
        return ((b & c) | (~b & d)) + 0x5a827999;
    case 1:
        return (b ^ c ^ d) + 0x6ed9eba1;
    case 2:
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    default:
        return (b ^ c ^ d) + 0xca62c1d6;
    }
}

static void take_block(uint32_t hash[5], const uint8_t block[BLOCK])
{
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4], w[16];

    for (size_t i = 0; i < 16; i++)
        w[i] = load_word(block + 4 * i);
    for (unsigned t = 0; t < 80; t++) {
        if (t >= 16)
            w[t & 15] =
                rotate32(w[(t + 13) & 15] ^ w[(t + 8) & 15] ^ w[(t + 2) & 15] ^ w[t & 15], 1);
        uint32_t next = rotate32(a, 5) + round_term(t, b, c, d) + e + w[t & 15];
        e = d;
        d = c;
        c = rotate32(b, 30);
        b = a;
        a = next;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
}

/* Takes the end of the input, a one bit, zeros, and the length in bits (5.1.1): one block or
 * two. */
static void take_end(uint32_t hash[5], const uint8_t *rest, size_t rest_len, uint64_t bits)
{
    uint8_t block[BLOCK] = { 0 };

    if (rest_len)
        memcpy(block, rest, rest_len);
    block[rest_len] = 0x80;
    if (rest_len >= LENGTH_AT) {
        take_block(hash, block);
        memset(block, 0, sizeof block);
    }
    store_word(block + LENGTH_AT, (uint32_t)(bits >> 32));
    store_word(block + LENGTH_AT + 4, (uint32_t)bits);
    take_block(hash, block);
}

void sha1(const void *data, size_t len, uint8_t digest[20])
{
    uint32_t hash[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    const uint8_t *at = data;
    size_t left = len;

    for (; left >= BLOCK; left -= BLOCK, at += BLOCK)
        take_block(hash, at);
    take_end(hash, at, left, (uint64_t)len * 8);
    for (size_t i = 0; i < 5; i++)
        store_word(digest + 4 * i, hash[i]);
}
