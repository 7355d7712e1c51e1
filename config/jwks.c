/*
 * The JWK Set (RFC 7517 5) that auth.jwks names: the keys of an identity provider.
 *
 * The file is written by somebody else, often by a program, and is read anew while the server runs.
 * A set is used as a whole or not at all; keys in it that this server cannot use are left out, each
 * with a warning. No report quotes the file: an oct key is a secret.
 */
#include "config/parts.h"

#include "common/hash.h"
#include "common/log.h"
#include "common/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    JWKS_BYTES_MAX = 256 << 10,
    JWKS_KEYS_MAX = 100,
    JWKS_DEPTH_MAX = 16,
    ARENA_BYTES = 4096,
};

static struct spot jwks_spot(const struct draft *draft)
{
    return draft_spot(draft, "auth.jwks");
}

/* ---- keys ---- */

static bool kid_in(const struct config_key *keys, size_t count, const char *kid)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].kid, kid) == 0)
            return true;
    return false;
}

static void warn_left_out(struct draft *draft, size_t number, const struct config_key *key,
                          const char *why)
{
    struct log_text quoted;

    report_note(draft->report, jwks_spot(draft), "key %zu%s%s of \"%s\" is left out: %s", number,
                *key->kid ? ", kid " : "", *key->kid ? log_quote(&quoted, slice_of(key->kid)) : "",
                draft->config->auth.jwks_file, why);
}

/* Takes key->bytes. False: the set is refused. */
static bool keep_set_key(struct draft *draft, size_t number, struct config_key *key)
{
    struct config_key_set *set = &draft->config->auth.jwks;
    struct log_text quoted;

    if (*key->kid && kid_in(set->keys, set->count, key->kid)) {
        report_error(draft->report, jwks_spot(draft), "found kid %s twice in \"%s\", allowed once",
                     log_quote(&quoted, slice_of(key->kid)), draft->config->auth.jwks_file);
        key_bytes_free(key);
        return false;
    }
    /* The provider must not take the place of a key of our own. */
    if (*key->kid && kid_in(draft->config->auth.keys, draft->config->auth.key_count, key->kid)) {
        warn_left_out(draft, number, key, "auth.keys or auth.keyDir has a key of this kid");
        key_bytes_free(key);
        return true;
    }
    set->keys[set->count++] = *key;
    return true;
}

static bool refuse_set(struct draft *draft, size_t number, const char *found, const char *allowed)
{
    report_error(draft->report, jwks_spot(draft), "found in key %zu of \"%s\" %s, allowed %s",
                 number, draft->config->auth.jwks_file, found, allowed);
    return false;
}

/* False: the set is refused. */
static bool take_key(struct draft *draft, const struct json_value *element, size_t number,
                     bool guarded, struct arena *arena)
{
    struct config_key key;
    const char *why;

    if (element->type != JSON_OBJECT)
        return refuse_set(draft, number, "no object", "an object");
    switch (jwk_read(element, arena, &key, &why)) {
    case JWK_GOOD:
        break;
    case JWK_OTHER:
        return true;
    case JWK_UNKNOWN:
        warn_left_out(draft, number, &key, why);
        return true;
    case JWK_PRIVATE:
        return refuse_set(draft, number, "the private part of a key",
                          "public keys alone: whoever read it can make tokens, so make a new key");
    case JWK_NO_MEMORY:
        report_error(draft->report, jwks_spot(draft), "out of memory");
        return false;
    }
    if (key.kty == CONFIG_KTY_HMAC && !guarded) {
        key_bytes_free(&key);
        return refuse_set(draft, number, "a secret (kty oct) that others can read",
                          "a file for its owner alone: run chmod 600");
    }
    return keep_set_key(draft, number, &key);
}

/* ---- the set ---- */

/* Finds `keys`, an array of at most JWKS_KEYS_MAX elements. */
static bool find_keys(struct draft *draft, const struct json_value *object, struct json_value *keys)
{
    struct json_value key, value, element;
    struct json_walk walk;
    size_t count = 0;

    keys->type = JSON_NULL;
    json_walk_begin(&walk, object);
    while (json_walk_member(&walk, &key, &value, NULL))
        if (json_key_equal(&key, SLICE("keys")))
            *keys = value;
    if (keys->type != JSON_ARRAY) {
        report_error(draft->report, jwks_spot(draft),
                     "found \"%s\" without a list \"keys\", allowed a JWK Set: {\"keys\": [...]}",
                     draft->config->auth.jwks_file);
        return false;
    }
    json_walk_begin(&walk, keys);
    while (json_walk_element(&walk, &element))
        count++;
    if (count > JWKS_KEYS_MAX)
        report_error(draft->report, jwks_spot(draft), "found %zu keys in \"%s\", allowed %d", count,
                     draft->config->auth.jwks_file, JWKS_KEYS_MAX);
    return count <= JWKS_KEYS_MAX;
}

static void take_keys(struct draft *draft, const struct json_value *keys, bool guarded)
{
    struct config_key_set *set = &draft->config->auth.jwks;
    struct json_value element;
    struct json_walk walk;
    struct arena arena;
    size_t number = 1;
    bool good = true;

    arena_init(&arena, ARENA_BYTES);
    set->keys = calloc(JWKS_KEYS_MAX, sizeof *set->keys);
    if (!set->keys) {
        report_error(draft->report, jwks_spot(draft), "out of memory");
        good = false;
    }
    json_walk_begin(&walk, keys);
    for (; good && json_walk_element(&walk, &element); number++)
        good = take_key(draft, &element, number, guarded, &arena);
    arena_fini(&arena);
    if (good && set->count == 0)
        report_error(draft->report, jwks_spot(draft),
                     "found no key in \"%s\" that can verify a token, allowed at least one",
                     draft->config->auth.jwks_file);
}

static size_t line_of(struct slice text, size_t offset)
{
    size_t line = 1;

    for (size_t i = 0; i < offset && i < text.len; i++)
        line += text.data[i] == '\n';
    return line;
}

void jwks_read(struct draft *draft, struct slice text, bool guarded)
{
    struct json_fault fault = { "bytes that are not UTF-8", 0 };
    struct json_value object, keys;
    enum err err = utf8_valid(text) ? json_check(text, JWKS_DEPTH_MAX, &object, &fault) : ERR_BAD;

    if (err == ERR_NOMEM) {
        report_error(draft->report, jwks_spot(draft), "out of memory");
    } else if (err) {
        report_error(draft->report, jwks_spot(draft),
                     "found \"%s\" that is no JSON (line %zu: %s), allowed a JWK Set: {\"keys\": "
                     "[...]}",
                     draft->config->auth.jwks_file, line_of(text, fault.offset), fault.reason);
    } else if (object.type != JSON_OBJECT) {
        report_error(draft->report, jwks_spot(draft),
                     "found \"%s\" that is no JSON object, allowed a JWK Set: {\"keys\": [...]}",
                     draft->config->auth.jwks_file);
    } else if (find_keys(draft, &object, &keys)) {
        take_keys(draft, &keys, guarded);
    }
}

/* ---- the file ---- */

static int64_t stamp_of(const struct stat *status)
{
    static const uint8_t no_secret[16] = { 0 };
    const uint64_t facts[] = { status->st_dev, status->st_ino, (uint64_t)status->st_size,
                               (uint64_t)status->st_mtim.tv_sec,
                               (uint64_t)status->st_mtim.tv_nsec };
    uint64_t hash = hash64(no_secret, facts, sizeof facts) >> 1;

    return hash ? (int64_t)hash : 1;
}

int64_t config_jwks_stamp(const struct config *config)
{
    struct stat status;

    return *config->auth.jwks_file && stat(config->auth.jwks_file, &status) == 0 ? stamp_of(&status)
                                                                                 : 0;
}

/* RFC 8725 3.8 and 3.9. */
static void warn_unchecked(struct draft *draft)
{
    const struct config *config = draft->config;

    if (!*config->auth.audience)
        report_warning(draft->report, draft_spot_or(draft, "auth.audience", "auth.jwks"),
                       "found none with auth.jwks: a token that the provider made for any other "
                       "application opens a session here");
    if (!*config->auth.issuer)
        report_warning(draft->report, draft_spot_or(draft, "auth.issuer", "auth.jwks"),
                       "found none with auth.jwks: who made a token is known by its key alone");
}

static void load_set(struct draft *draft)
{
    const char *path = draft->config->auth.jwks_file, *reason;
    struct stat status;
    struct buf text;

    reason = file_read(path, JWKS_BYTES_MAX, &text, &status);
    if (reason) {
        report_error(draft->report, jwks_spot(draft),
                     "found \"%s\" unreadable (%s), allowed a JWK Set of at most %d bytes", path,
                     reason, JWKS_BYTES_MAX);
        return;
    }
    draft->config->auth.jwks_stamp = stamp_of(&status);
    if (status.st_mode & S_IWOTH)
        report_error(draft->report, jwks_spot(draft),
                     "found \"%s\" writable by others (mode %03o), allowed to its owner alone: run "
                     "chmod go-w %s",
                     path, (unsigned)status.st_mode & 0777, path);
    else
        jwks_read(draft, buf_slice(&text), file_readers(&status) == 0);
    file_wipe(&text);
}

void jwks_load(struct draft *draft)
{
    if (!*draft->config->auth.jwks_file)
        return;
    warn_unchecked(draft);
    load_set(draft);
}

struct config *config_with_jwks(const struct config *config, struct config_report *report)
{
    struct draft draft = { .file = config->file, .report = report, .config = config_copy(config) };
    size_t errors_before = report->error_count;
    struct config_key_set *set;

    if (!draft.config) {
        report_error(report, draft_spot(&draft, "auth.jwks"), "out of memory");
        return NULL;
    }
    draft.file = draft.config->file;
    set = &draft.config->auth.jwks;
    while (set->count)
        key_bytes_free(&set->keys[--set->count]);
    free(set->keys);
    set->keys = NULL;
    load_set(&draft);
    if (report->error_count == errors_before)
        return draft.config;
    config_free(draft.config);
    return NULL;
}
