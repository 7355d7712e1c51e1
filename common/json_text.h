/* The characters of JSON strings; shared by the files of the JSON scanner and private to them. */
#ifndef COMMON_JSON_TEXT_H
#define COMMON_JSON_TEXT_H

#include "common/json.h"

#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Offsets and lengths of keys are kept in 31 bits. */
enum { JSON_TEXT_MAX = INT32_MAX };

/* White space, RFC 8259 section 2. All four are at most a space, which most bytes are not: one
 * comparison decides for these. */
static inline bool json_is_space(char c)
{
    return (unsigned char)c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t');
}

static inline bool json_is_special(char c)
{
    return c == '"' || c == '\\' || (unsigned char)c < 0x20;
}

/* Is there a quote, a backslash or a control character among these eight bytes? The classic test of
 * a word for a zero byte, and for a byte below 0x20. Does not tell which byte. */
static inline bool json_word_special(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101, tops = ones << 7;
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');

    return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
            ((word - ones * 0x20) & ~word)) &
           tops;
}

/* Returns the first quote, backslash or control character; end when there is none. */
static inline const char *json_plain_end(const char *at, const char *end)
{
#if defined(__SSE2__)
    while (end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        int mask = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control));
        if (mask)
            return at + __builtin_ctz((unsigned)mask);
        at += 16;
    }
#endif
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        if (json_word_special(word))
            break;
        at += 8;
    }
    while (at < end && !json_is_special(*at))
        at++;
    return at;
}

/* Reads four hexadecimal digits at `at`. False when there are not four. */
static inline bool json_hex4(const char *at, const char *end, uint32_t *unit)
{
    if (end - at < 4)
        return false;
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)at[i], letter = c | 0x20;
        if (c >= '0' && c <= '9')
            *unit = *unit << 4 | (uint32_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            *unit = *unit << 4 | (uint32_t)(letter - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* The characters between the quotes, of a STRING as of a key. A key's text comes without quotes,
 * and no key can begin with a quote. */
static inline struct slice json_inside(const struct json_value *value)
{
    struct slice text = value->text;

    if (text.len < 2 || text.data[0] != '"')
        return text;
    return slice_make(text.data + 1, text.len - 2);
}

/* Takes the next character of the inside of a string that the scan accepted, and moves *at behind
 * it. Writes UTF-8 to out and returns its length: 1 to 4 for an escape, 1 for a plain byte. */
unsigned json_next_char(const char **at, char out[4]);

#endif
