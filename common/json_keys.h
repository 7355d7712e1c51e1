/*
 * The keys of the objects that a JSON scan has open, to find one that is given twice (private to
 * the scanner).
 *
 * All open objects share one stack of keys. While an object is small, a new key is compared with
 * the earlier keys at once; a set of 64 bits saves most of these comparisons. An object of many
 * members is checked when it closes, with a hash table, so that the time stays linear. The hash is
 * seeded for each process: no stranger can craft keys that collide.
 */
#ifndef COMMON_JSON_KEYS_H
#define COMMON_JSON_KEYS_H

#include "common/err.h"
#include "common/json.h"

#include <stdint.h>

enum { JSON_KEYS_OWN = 64 };

struct json_key {
    uint64_t hash; /* of the unescaped text */
    const char *text;
    uint32_t len;
    bool escaped;
};

struct json_keys {
    struct json_key *keys; /* own, or an allocation when own is too small */
    size_t count, room;
    struct json_keys_object {
        uint64_t seen; /* one bit for each key's hash */
        size_t first;  /* of its keys */
    } objects[JSON_DEPTH_LIMIT];
    struct json_key own[JSON_KEYS_OWN];
};

void json_keys_init(struct json_keys *keys);
void json_keys_fini(struct json_keys *keys);
void json_keys_open(struct json_keys *keys, unsigned depth);
/* Adds a key of the object at depth. ERR_EXISTS when the object has the key already (a large object
 * answers in json_keys_close), ERR_NOMEM. */
enum err json_keys_add(struct json_keys *keys, unsigned depth, const struct json_value *key);
/* Forgets the object's keys. ERR_EXISTS when a key was given twice, ERR_NOMEM. */
enum err json_keys_close(struct json_keys *keys, unsigned depth);

#endif
