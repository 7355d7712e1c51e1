/*
 * Base64, strict.
 *
 * The validator is on the path of every message (its `content`), so it judges sixteen characters a
 * step with the compiler's own vectors: four ranges, no table, no branch, one verdict at the end.
 * Everything else here is for short texts and is a plain table walk.
 */
#include "common/base64.h"

enum { QUANTUM = 4, VECTOR = 16 };

/* NO has a bit that no value has, so that several verdicts can be ORed and tested once. */
#define NO 0x80

/* clang-format off */
static const uint8_t values[128] = {
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 62, NO, NO, NO, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO, NO, NO, NO, NO, NO,
    NO,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, NO, NO, NO, NO, NO,
    NO, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO, NO, NO, NO, NO,
};
/* clang-format on */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static inline uint8_t value_of_char(char c)
{
    uint8_t byte = (uint8_t)c;

    return byte < 128 ? values[byte] : NO;
}

typedef uint8_t bytes16 __attribute__((vector_size(VECTOR)));

/* Each byte of the result is all ones where text has a character of the alphabet, else 0. */
static inline bytes16 judge_vector(const char *text)
{
    bytes16 c, letter, digit;

    memcpy(&c, text, sizeof c);
    letter = (c | 0x20) - 'a'; /* both cases at once; nothing else falls into a-z by that bit */
    digit = c - '/';           /* '/' lies just before '0' */
    return (bytes16)(letter < 26) | (bytes16)(digit < 11) | (bytes16)(c == '+');
}

/* len: at least one vector. The last step overlaps the one before, so that there is no tail. */
static bool alphabet_only_long(const char *text, size_t len)
{
    bytes16 good = judge_vector(text + len - VECTOR);
    uint64_t halves[2];

    for (size_t i = 0; i + VECTOR <= len; i += VECTOR)
        good &= judge_vector(text + i);
    memcpy(halves, &good, sizeof halves);
    return (halves[0] & halves[1]) == UINT64_MAX;
}

static bool alphabet_only(const char *text, size_t len)
{
    uint8_t seen = 0;

    if (len >= VECTOR)
        return alphabet_only_long(text, len);
    for (size_t i = 0; i < len; i++)
        seen |= value_of_char(text[i]);
    return !(seen & NO);
}

/* Returns how many bytes the last four characters stand for; 0 when they are not a quantum. Bits
 * that padding leaves over must be zero (RFC 4648 3.5), or one content would have several texts. */
static size_t last_quantum(const char *text)
{
    uint8_t a = value_of_char(text[0]), b = value_of_char(text[1]);
    uint8_t c = value_of_char(text[2]), d = value_of_char(text[3]);

    if ((a | b) & NO)
        return 0;
    if (text[3] != '=')
        return (c | d) & NO ? 0 : 3;
    if (text[2] != '=')
        return (c & NO) || (c & 0x03) ? 0 : 2;
    return b & 0x0f ? 0 : 1;
}

bool base64_valid(struct slice text)
{
    if (text.len == 0)
        return true;
    if (text.len % QUANTUM != 0)
        return false;
    return last_quantum(text.data + text.len - QUANTUM) != 0 &&
           alphabet_only(text.data, text.len - QUANTUM);
}

/* Three bytes become four characters. Bytes past the input are given as zero. */
static void encode_quantum(char *out, uint8_t a, uint8_t b, uint8_t c)
{
    out[0] = alphabet[a >> 2];
    out[1] = alphabet[(a & 0x03) << 4 | b >> 4];
    out[2] = alphabet[(b & 0x0f) << 2 | c >> 6];
    out[3] = alphabet[c & 0x3f];
}

size_t base64_encode(char *out, const void *data, size_t len)
{
    const uint8_t *in = data;
    char *at = out;
    size_t i = 0;

    for (; len - i >= 3; i += 3, at += QUANTUM)
        encode_quantum(at, in[i], in[i + 1], in[i + 2]);
    if (len - i == 0)
        return (size_t)(at - out);
    encode_quantum(at, in[i], len - i == 2 ? in[i + 1] : 0, 0);
    at[3] = '=';
    if (len - i == 1)
        at[2] = '=';
    return (size_t)(at + QUANTUM - out);
}

/* Four characters become `count` bytes, at most three. '=' counts as zero. */
static void decode_quantum(uint8_t *out, size_t count, const char *text)
{
    uint32_t bits = 0;

    for (int i = 0; i < QUANTUM; i++)
        bits = bits << 6 | (value_of_char(text[i]) & 0x3f);
    for (size_t i = 0; i < count; i++)
        out[i] = (uint8_t)(bits >> (16 - 8 * i));
}

bool base64_decode(struct slice text, void *out, size_t out_size, size_t *out_len)
{
    uint8_t *at = out;
    size_t last, len;

    *out_len = 0;
    if (!base64_valid(text))
        return false;
    if (text.len == 0)
        return true;
    last = last_quantum(text.data + text.len - QUANTUM);
    len = (text.len / QUANTUM - 1) * 3 + last;
    if (len > out_size)
        return false;
    for (size_t i = 0; i < text.len; i += QUANTUM, at += 3)
        decode_quantum(at, i + QUANTUM < text.len ? 3 : last, text.data + i);
    *out_len = len;
    return true;
}
