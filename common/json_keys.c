#include "common/json_keys.h"

#include "common/grow.h"
#include "common/json_text.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

/* An object of at most so many members has its keys compared one with another. */
enum { FEW = 24 };

static uint64_t seeds[2];

static void make_seeds(void)
{
    if (getrandom(seeds, sizeof seeds, GRND_NONBLOCK) != (ssize_t)sizeof seeds) {
        /* Early at boot, or where the kernel forbids getrandom. Such a seed can be guessed; the
         * cost of a message stays bounded by its size. */
        seeds[0] = (uint64_t)time(NULL) * 0x9E3779B97F4A7C15;
        seeds[1] = (uint64_t)(uintptr_t)&seeds ^ (uint64_t)clock();
    }
    seeds[0] |= 1; /* 0 means "not made yet", and is no multiplier */
}

/* Both halves of a 128-bit product: each bit of the input reaches each bit of the result. */
static inline uint64_t multiply_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Up to seven bytes, the first of them lowest, as one word. */
static inline uint64_t load_tail(const char *at, size_t len)
{
    uint32_t first, last;

    if (len == 0)
        return 0;
    if (len < 4) /* first, middle and last cover up to three bytes; a byte read twice has the same
                    value */
        return (uint64_t)(unsigned char)at[0] |
               (uint64_t)(unsigned char)at[len / 2] << len / 2 * 8 |
               (uint64_t)(unsigned char)at[len - 1] << (len - 1) * 8;
    memcpy(&first, at, 4);
    memcpy(&last, at + len - 4, 4);
    return (uint64_t)le32toh(first) | (uint64_t)le32toh(last) << (len - 4) * 8;
}

/* Mixes the words of the text, then one word of the bytes left over, with their number in its
 * highest byte. */
static inline uint64_t hash_plain(struct slice text)
{
    uint64_t hash = seeds[1], word;
    const char *at = text.data;
    size_t left = text.len;

    for (; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        hash = multiply_fold(hash ^ le64toh(word), seeds[0]);
    }
    return multiply_fold(hash ^ (load_tail(at, left) | (uint64_t)left << 56), seeds[0]);
}

/* The same hash, of the text once unescaped. */
static uint64_t hash_escaped(struct slice text)
{
    const char *at = text.data, *end = text.data + text.len;
    uint64_t hash = seeds[1], word = 0;
    unsigned used = 0;

    while (at < end) {
        char c[4];
        unsigned bytes = json_next_char(&at, c);
        for (unsigned i = 0; i < bytes; i++) {
            word |= (uint64_t)(unsigned char)c[i] << used * 8;
            if (++used < 8)
                continue;
            hash = multiply_fold(hash ^ word, seeds[0]);
            word = used = 0;
        }
    }
    return multiply_fold(hash ^ (word | (uint64_t)used << 56), seeds[0]);
}

/* Are two keys of one hash the same text? */
static bool same_text(const struct json_key *a, const struct json_key *b)
{
    const char *at_a = a->text, *end_a = a->text + a->len;
    const char *at_b = b->text, *end_b = b->text + b->len;

    if (!a->escaped && !b->escaped)
        return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
    while (at_a < end_a && at_b < end_b) {
        /* An escape in one key can stand for several bytes of UTF-8 in the other. */
        char c[4];
        unsigned len;
        if (*at_a == '\\' && *at_b == '\\') {
            char d[4];
            len = json_next_char(&at_a, c);
            if (json_next_char(&at_b, d) != len || memcmp(c, d, len) != 0)
                return false;
            continue;
        }
        const char **escaped = *at_a == '\\' ? &at_a : &at_b;
        const char **plain = *at_a == '\\' ? &at_b : &at_a;
        const char *plain_end = *at_a == '\\' ? end_b : end_a;
        len = json_next_char(escaped, c);
        if ((size_t)(plain_end - *plain) < len || memcmp(*plain, c, len) != 0)
            return false;
        *plain += len;
    }
    return at_a == end_a && at_b == end_b;
}

static inline bool keys_equal(const struct json_key *a, const struct json_key *b)
{
    return a->hash == b->hash && same_text(a, b);
}

void json_keys_init(struct json_keys *keys)
{
    if (seeds[0] == 0)
        make_seeds();
    keys->keys = keys->own;
    keys->room = JSON_KEYS_OWN;
    keys->count = 0;
}

void json_keys_fini(struct json_keys *keys)
{
    if (keys->keys != keys->own)
        free(keys->keys);
}

void json_keys_open(struct json_keys *keys, unsigned depth)
{
    keys->objects[depth] = (struct json_keys_object){ .first = keys->count };
}

static enum err grow_keys(struct json_keys *keys)
{
    bool own = keys->keys == keys->own;
    struct json_key *grown = own ? NULL : keys->keys;
    size_t room = own ? 0 : keys->room;

    if (grow_reserve(&grown, &room, keys->room + 1, 2 * (size_t)JSON_KEYS_OWN, SIZE_MAX))
        return ERR_NOMEM;
    assert(grown);
    if (own)
        memcpy(grown, keys->own, sizeof keys->own);
    keys->keys = grown;
    keys->room = room;
    return OK;
}

enum err json_keys_add(struct json_keys *keys, unsigned depth, const struct json_value *key)
{
    struct json_keys_object *object = &keys->objects[depth];
    struct json_key *new;
    uint64_t bit;

    if (keys->count == keys->room && grow_keys(keys))
        return ERR_NOMEM;
    new = &keys->keys[keys->count];
    new->text = key->text.data;
    new->len = (uint32_t)key->text.len;
    new->escaped = key->escaped;
    new->hash = key->escaped ? hash_escaped(key->text) : hash_plain(key->text);
    bit = (uint64_t)1 << (new->hash & 63);
    if ((object->seen & bit) && keys->count - object->first < FEW)
        for (size_t i = object->first; i < keys->count; i++)
            if (keys_equal(&keys->keys[i], new))
                return ERR_EXISTS;
    object->seen |= bit;
    keys->count++;
    return OK;
}

/* Puts every key into a hash table of at least twice their number. A slot holds the index of a key
 * plus 1; 0 is empty. */
static enum err check_many(const struct json_key *keys, size_t count)
{
    size_t size = 128;
    uint32_t *table;
    enum err err = OK;

    while (size < 2 * count)
        size *= 2;
    table = calloc(size, sizeof *table);
    if (!table)
        return ERR_NOMEM;
    for (size_t i = 0; i < count && !err; i++) {
        size_t slot = keys[i].hash & (size - 1);
        for (; table[slot] && !err; slot = (slot + 1) & (size - 1))
            if (keys_equal(&keys[table[slot] - 1], &keys[i]))
                err = ERR_EXISTS;
        table[slot] = (uint32_t)(i + 1);
    }
    free(table);
    return err;
}

enum err json_keys_close(struct json_keys *keys, unsigned depth)
{
    size_t first = keys->objects[depth].first, count = keys->count - first;

    keys->count = first;
    return count > FEW ? check_many(keys->keys + first, count) : OK;
}
