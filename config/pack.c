/*
 * A config as bytes. Two further things follow: two values are compared by comparing the bytes of
 * their row, and a copy is packing and unpacking.
 *
 * The bytes go from the master to workers of the same binary, so there is no version. The reader
 * still checks every length, and refuses bytes that the writer cannot have written.
 */
#include "config/checks.h"
#include "config/listen.h"
#include "config/parts.h"

#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { PACKED_BYTES_MAX = 256 << 20 };

static const char magic[8] = { 'P', 'O', 'c', 'o', 'n', 'f', 'i', 'g' };

/* ---- writing ---- */

static void put_int(struct buf *out, int64_t value)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
    buf_add(out, bytes, sizeof bytes);
}

static void put_bytes(struct buf *out, const void *bytes, size_t len)
{
    put_int(out, (int64_t)len);
    buf_add(out, bytes, len);
}

static void put_text(struct buf *out, const char *text)
{
    put_bytes(out, text ? text : "", text ? strlen(text) : 0);
}

static void put_list(struct buf *out, const struct config_list *list)
{
    put_int(out, (int64_t)list->count);
    for (size_t i = 0; i < list->count; i++)
        put_text(out, list->items[i]);
}

static void put_redis(struct buf *out, const struct config_redis *redis)
{
    put_int(out, redis->kind);
    put_text(out, redis->host);
    put_int(out, redis->port);
    put_text(out, redis->path);
    put_text(out, redis->folder);
    put_text(out, redis->user);
    put_text(out, redis->password);
    put_int(out, redis->db);
    put_int(out, redis->tls);
}

static void put_keys(struct buf *out, const struct config_key *keys, size_t count)
{
    put_int(out, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct config_key *key = &keys[i];
        put_text(out, key->kid);
        put_int(out, key->kty);
        put_bytes(out, key->bytes, key->len);
        put_int(out, key->not_after);
    }
}

static void put_certs(struct buf *out, const struct config *config)
{
    put_int(out, (int64_t)config->tls.pair_count);
    for (size_t i = 0; i < config->tls.pair_count; i++) {
        const struct config_pair *pair = &config->tls.pairs[i];
        put_text(out, pair->cert_file);
        put_text(out, pair->key_file);
        put_bytes(out, pair->chain, pair->chain_len);
        put_bytes(out, pair->key, pair->key_len);
    }
}

static void put_row(struct buf *out, const struct key *key, const struct config *config)
{
    const void *value = key_has_field(key) ? key_value(key, config) : NULL;

    switch (key->type) {
    case KEY_INT:
        put_int(out, *(const int64_t *)value);
        break;
    case KEY_BOOL:
        put_int(out, *(const bool *)value);
        break;
    case KEY_TEXT:
        put_text(out, *(char *const *)value);
        break;
    case KEY_LIST:
        put_list(out, value);
        break;
    case KEY_SOURCES:
        put_redis(out, value);
        break;
    case KEY_STORE:
        put_keys(out, config->auth.keys, config->auth.key_count);
        break;
    case KEY_SET:
        put_keys(out, ((const struct config_key_set *)value)->keys,
                 ((const struct config_key_set *)value)->count);
        break;
    case KEY_CERTS:
        put_certs(out, config);
        break;
    case KEY_USE:
    case KEY_KEYS:
    case KEY_PAIRS:
        break; /* the values that these keys lead to are in other rows */
    }
}

static size_t certs_size(const struct config *config)
{
    size_t size = 0;

    for (size_t i = 0; i < config->tls.pair_count; i++)
        size += config->tls.pairs[i].chain_len + config->tls.pairs[i].key_len +
                (size_t)4 * KEY_TEXT_MAX;
    return size;
}

/* The longest key is one of RSA. */
static size_t keys_guess(size_t count)
{
    return count * (KEY_RSA_BITS_MAX / 8 + CONFIG_KID_BYTES_MAX + 64);
}

/* Returns a size that is enough for all but odd configs. config_pack reserves the room at once,
 * because a buffer that grows leaves copies of secrets behind in freed memory. */
static size_t size_guess(const struct config *config)
{
    size_t size =
        32768 + keys_guess(config->auth.key_count + config->auth.jwks.count) + certs_size(config);

    for (size_t i = 0; i < config->auth.revoked.count; i++)
        size += strlen(config->auth.revoked.items[i]) + 8;
    for (size_t i = 0; i < config->auth.revoked_subs.count; i++)
        size += strlen(config->auth.revoked_subs.items[i]) + 8;
    return size;
}

enum err config_pack(const struct config *config, struct buf *out)
{
    size_t guess = size_guess(config), room = out->size_max - out->len;

    buf_reserve(out, guess < room ? guess : room);
    buf_add(out, magic, sizeof magic);
    for (size_t i = 0; i < config_key_rows; i++)
        put_row(out, &config_keys[i], config);
    if (!out->failed)
        return OK;
    return out->len + 4096 > out->size_max ? ERR_FULL : ERR_NOMEM;
}

/* ---- reading ---- */

struct reader {
    const char *at, *end;
    bool bad; /* remembered, so that a row of reads can be checked once at its end */
};

static int64_t get_int(struct reader *r, int64_t min, int64_t max)
{
    uint64_t value = 0;

    if (r->bad || r->end - r->at < 8) {
        r->bad = true;
        return min;
    }
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)(uint8_t)*r->at++ << (8 * i);
    if ((int64_t)value >= min && (int64_t)value <= max)
        return (int64_t)value;
    r->bad = true;
    return min;
}

/* Reads a count of items of at least `least` bytes each: never more items than the bytes left can
 * hold. */
static size_t get_count(struct reader *r, size_t least)
{
    int64_t count = get_int(r, 0, r->end - r->at);

    if (r->bad || (size_t)count > (size_t)(r->end - r->at) / least) {
        r->bad = true;
        return 0;
    }
    return (size_t)count;
}

static struct slice get_bytes(struct reader *r)
{
    size_t len = get_count(r, 1);
    struct slice bytes = { r->at, len };

    r->at += len;
    return bytes;
}

/* NULL only when the reader is bad. */
static char *get_text(struct reader *r)
{
    struct slice text = get_bytes(r);
    char *copy = NULL;

    if (!r->bad && !memchr(text.data, 0, text.len))
        copy = strndup(text.data, text.len);
    r->bad = r->bad || !copy;
    return copy;
}

static void get_list(struct reader *r, struct config_list *list)
{
    size_t count = get_count(r, 8);

    list->items = count ? calloc(count, sizeof *list->items) : NULL;
    r->bad = r->bad || (count && !list->items);
    for (size_t i = 0; i < count && !r->bad; i++) {
        list->items[i] = get_text(r);
        list->count = i + 1;
    }
}

static void get_redis(struct reader *r, struct config_redis *redis)
{
    redis->kind = (enum config_redis_kind)get_int(r, CONFIG_REDIS_NONE, CONFIG_REDIS_UNIX);
    redis->host = get_text(r);
    redis->port = get_int(r, 0, 65535);
    redis->path = get_text(r);
    redis->folder = get_text(r);
    redis->user = get_text(r);
    redis->password = get_text(r);
    redis->db = get_int(r, 0, INT64_MAX);
    redis->tls = get_int(r, 0, 1) != 0;
}

/* of_set: of a JWK Set, whose kids are any text, and may be absent. */
static void get_key(struct reader *r, bool of_set, struct config_key *key)
{
    struct slice kid = get_bytes(r), bytes;

    if (r->bad || kid.len >= sizeof key->kid) {
        r->bad = true;
        return;
    }
    memcpy(key->kid, kid.data, kid.len);
    key->kty = (enum config_kty)get_int(r, CONFIG_KTY_ED25519,
                                        of_set ? CONFIG_KTY_ES256 : CONFIG_KTY_HMAC);
    bytes = get_bytes(r);
    key->not_after = get_int(r, 0, INT64_MAX);
    r->bad = r->bad || !(of_set ? jwk_kid_good(kid) : check_kid(key->kid)) ||
             strlen(key->kid) != kid.len || !key_len_good(key->kty, bytes.len);
    if (r->bad)
        return;
    r->bad = !key_bytes_set(key, bytes.data, bytes.len);
}

static void get_keys(struct reader *r, bool of_set, struct config_key **keys, size_t *filled)
{
    size_t count = get_count(r, 32);

    *keys = count ? calloc(count, sizeof **keys) : NULL;
    r->bad = r->bad || (count && !*keys);
    for (size_t i = 0; i < count && !r->bad; i++) {
        *filled = i + 1;
        get_key(r, of_set, &(*keys)[i]);
    }
}

static void get_pair(struct reader *r, struct config_pair *pair)
{
    struct slice chain, key;

    pair->cert_file = get_text(r);
    pair->key_file = get_text(r);
    chain = get_bytes(r);
    key = get_bytes(r);
    r->bad = r->bad || chain.len == 0 || chain.len > (size_t)2 * KEY_CHAIN_BYTES_MAX ||
             key.len == 0 || key.len > KEY_PEM_BYTES_MAX;
    if (r->bad)
        return;
    pair->chain = malloc(chain.len);
    pair->key = secret_new(key.data, key.len);
    r->bad = !pair->chain || !pair->key;
    if (r->bad)
        return;
    memcpy(pair->chain, chain.data, chain.len);
    pair->chain_len = chain.len;
    pair->key_len = key.len;
}

static void get_certs(struct reader *r, struct config *config)
{
    size_t count = get_count(r, 32);

    config->tls.pairs = count ? calloc(count, sizeof *config->tls.pairs) : NULL;
    r->bad = r->bad || (count && !config->tls.pairs);
    for (size_t i = 0; i < count && !r->bad; i++) {
        config->tls.pair_count = i + 1;
        get_pair(r, &config->tls.pairs[i]);
    }
}

static void get_row(struct reader *r, const struct key *key, struct config *config)
{
    void *field = key_has_field(key) ? key_field(key, config) : NULL;

    switch (key->type) {
    case KEY_INT:
        *(int64_t *)field = get_int(r, key->min, key->max);
        break;
    case KEY_BOOL:
        *(bool *)field = get_int(r, 0, 1) != 0;
        break;
    case KEY_TEXT:
        *(char **)field = get_text(r);
        break;
    case KEY_LIST:
        get_list(r, field);
        break;
    case KEY_SOURCES:
        get_redis(r, field);
        break;
    case KEY_STORE:
        get_keys(r, false, &config->auth.keys, &config->auth.key_count);
        break;
    case KEY_SET:
        get_keys(r, true, &((struct config_key_set *)field)->keys,
                 &((struct config_key_set *)field)->count);
        break;
    case KEY_CERTS:
        get_certs(r, config);
        break;
    case KEY_USE:
    case KEY_KEYS:
    case KEY_PAIRS:
        break;
    }
}

struct config *config_unpack(struct slice packed)
{
    struct reader r = { packed.data, packed.data + packed.len, false };
    struct config *config;

    if (packed.len < sizeof magic || memcmp(packed.data, magic, sizeof magic) != 0)
        return NULL;
    r.at += sizeof magic;
    config = calloc(1, sizeof *config);
    for (size_t i = 0; config && !r.bad && i < config_key_rows; i++)
        get_row(&r, &config_keys[i], config);
    if (!r.bad && r.at == r.end)
        return config;
    config_free(config);
    return NULL;
}

/* ---- freeing ---- */

static void list_fini(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct config_list){ 0 };
}

static void keys_fini(struct config_key **keys, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        key_bytes_free(&(*keys)[i]);
    free(*keys);
    *keys = NULL;
    *count = 0;
}

void config_forget_pair_keys(struct config *config)
{
    for (size_t i = 0; i < config->tls.pair_count; i++) {
        secret_free(config->tls.pairs[i].key);
        config->tls.pairs[i].key = NULL;
        config->tls.pairs[i].key_len = 0;
    }
}

static void certs_fini(struct config *config)
{
    config_forget_pair_keys(config);
    for (size_t i = 0; i < config->tls.pair_count; i++) {
        free(config->tls.pairs[i].cert_file);
        free(config->tls.pairs[i].key_file);
        free(config->tls.pairs[i].chain);
    }
    free(config->tls.pairs);
    config->tls.pairs = NULL;
    config->tls.pair_count = 0;
}

void config_key_fini(const struct key *key, struct config *config)
{
    if (key->type == KEY_TEXT) {
        char **text = key_field(key, config);
        if (*text && !key->help)
            explicit_bzero(*text, strlen(*text)); /* may be a private key */
        free(*text);
        *text = NULL;
    } else if (key->type == KEY_LIST) {
        list_fini(key_field(key, config));
    } else if (key->type == KEY_SOURCES) {
        redis_uri_fini(key_field(key, config));
    } else if (key->type == KEY_STORE) {
        keys_fini(&config->auth.keys, &config->auth.key_count);
    } else if (key->type == KEY_SET) {
        struct config_key_set *set = key_field(key, config);
        keys_fini(&set->keys, &set->count);
    } else if (key->type == KEY_CERTS) {
        certs_fini(config);
    }
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config_key_rows; i++)
        config_key_fini(&config_keys[i], config);
    free(config);
}

/* ---- copying ---- */

struct config *config_copy(const struct config *config)
{
    struct config *made = NULL;
    struct buf packed;

    buf_init(&packed, PACKED_BYTES_MAX);
    if (config_pack(config, &packed) == OK)
        made = config_unpack(buf_slice(&packed));
    file_wipe(&packed);
    return made;
}

/* A row with secrets gets its room at once, for the same reason as in config_pack. */
static void reserve_row(struct buf *row, const struct key *key, const struct config *config)
{
    if (key->type == KEY_STORE || key->type == KEY_SET)
        buf_reserve(row, 4096 + keys_guess(key->type == KEY_STORE ? config->auth.key_count
                                                                  : config->auth.jwks.count));
    else if (key->type == KEY_CERTS)
        buf_reserve(row, 4096 + certs_size(config));
    else if (key->type == KEY_SOURCES)
        buf_reserve(row, 4096);
}

bool pack_row_differs(const struct key *key, const struct config *a, const struct config *b)
{
    struct buf left, right;
    bool differs;

    buf_init(&left, PACKED_BYTES_MAX);
    buf_init(&right, PACKED_BYTES_MAX);
    reserve_row(&left, key, a);
    reserve_row(&right, key, b);
    put_row(&left, key, a);
    put_row(&right, key, b);
    differs = left.failed || right.failed || !slice_equal(buf_slice(&left), buf_slice(&right));
    file_wipe(&left);
    file_wipe(&right);
    return differs;
}

bool pack_row_copy(const struct key *key, const struct config *from, struct config *to)
{
    struct reader r;
    struct buf row;

    buf_init(&row, PACKED_BYTES_MAX);
    reserve_row(&row, key, from);
    put_row(&row, key, from);
    r = (struct reader){ buf_slice(&row).data, buf_slice(&row).data + row.len, row.failed };
    config_key_fini(key, to);
    get_row(&r, key, to);
    file_wipe(&row);
    return !r.bad;
}
