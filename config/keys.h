/*
 * The table of keys, for the files of config/ and their tests. Reading, checking, packing,
 * comparing and explaining a key all walk this table, so a new key is a field in struct config and
 * one row here.
 */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "config/config.h"

#include <stddef.h>

enum key_type {
    KEY_INT,     /* int64_t, min to max */
    KEY_BOOL,    /* bool */
    KEY_TEXT,    /* char *, never NULL once loaded */
    KEY_LIST,    /* struct config_list */
    KEY_SOURCES, /* struct config_redis, chosen from an object of named sources */
    KEY_USE,     /* the name of a source; no field of its own */
    KEY_KEYS,    /* the list of key descriptions; no field of its own */
    KEY_STORE,   /* the keys themselves, read from files */
    KEY_PAIRS,   /* the list of pairs of certificate and key; no field of its own */
    KEY_CERTS,   /* the pairs themselves, read from files */
    KEY_SET,     /* struct config_key_set, the keys of auth.jwks */
};

/* Where a relative path starts. */
enum key_base { BASE_NONE, BASE_FILE, BASE_CWD };

struct key {
    const char *name; /* NULL: a field that no key sets (the file's own path) */
    enum key_type type;
    enum config_apply apply;
    enum key_base base;
    size_t offset;             /* of the field in struct config */
    int64_t min, max, initial; /* KEY_LIST: min and max items; max 0: KEY_ITEMS_MAX */
    const char *initial_text;  /* KEY_TEXT; KEY_LIST: its items with commas between, or NULL */
    bool lone;                 /* KEY_LIST: a string is a list of one */
    bool (*check)(const char *text); /* KEY_TEXT, and each item of KEY_LIST; NULL: any text */
    const char *allowed;             /* the texts that check accepts, for a person */
    const char *variable;            /* the environment variable; NULL: made from the name */
    const char *help; /* NULL: no key of its own, read from files that another key names */
};

/* Every row; config_key_rows of them. */
extern const struct key config_keys[];
extern const size_t config_key_rows;

enum {
    KEY_TEXT_MAX = 1024,   /* bytes of a string value */
    KEY_ITEMS_MAX = 1000,  /* of a list */
    KEY_VARIABLE_MAX = 80, /* bytes of an environment variable's name, its NUL included */
    KEY_ALLOWED_MAX = 320,
    KEY_ED25519_BYTES = 32,
    KEY_HMAC_BYTES_MIN = 32,
    KEY_HMAC_BYTES_MAX = 512,
    KEY_PAIRS_MAX = 64,              /* certificates */
    KEY_CHAIN_BYTES_MAX = 64 * 1024, /* a file of certificates */
    KEY_PEM_BYTES_MAX = 16 * 1024,   /* a file with a private key */
    KEY_RSA_BITS_MIN = 2048,         /* NIST SP 800-131A; RFC 7518 3.3 */
    KEY_RSA_BITS_MAX = 8192,         /* a signature check costs the square of it */
    KEY_ES256_BYTES = 64,
};

/* Returns the key of exactly that name, or NULL. */
const struct key *keys_find(const char *name);
/* Does some key's path begin with name and a dot, as with "limits"? */
bool keys_is_section(const char *name);
/* Returns the key that the writer of name probably meant; NULL when none is close. */
const char *keys_nearest(const char *name);
/* May the writer of name have meant this key, or this part of the tree? */
bool keys_alike(const char *key, const char *name);
/* Writes the key's environment variable, POSTOFFICE_...; false when the key has none. */
bool key_variable(const struct key *key, char variable[KEY_VARIABLE_MAX]);
/* Writes which values the key allows, as a phrase: "a whole number from 1 to 65535". Returns
 * text. */
const char *key_allowed(const struct key *key, char text[KEY_ALLOWED_MAX]);
/* Does text keep to the rule of all strings (length, no control characters) and to the key's
 * own? */
bool key_text_good(const struct key *key, const char *text);

static inline void *key_field(const struct key *key, struct config *config)
{
    return (char *)config + key->offset;
}
static inline const void *key_value(const struct key *key, const struct config *config)
{
    return (const char *)config + key->offset;
}
static inline bool key_has_field(const struct key *key)
{
    return key->type != KEY_USE && key->type != KEY_KEYS && key->type != KEY_PAIRS;
}

#endif
