/*
 * The keys that verify tokens: files that the configuration names.
 *
 * A key file holds one line of standard base64. No report ever quotes a file's contents: a file
 * that should be public may hold a secret by mistake.
 */
#include "config/checks.h"
#include "config/parts.h"

#include "common/base64.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    KEYS_MAX = 1000,
    KEY_FILE_BYTES_MAX = 1024, /* 512 bytes in base64 and a newline are 685 */
};

static const char kty_names[][8] = { [CONFIG_KTY_ED25519] = "ed25519", [CONFIG_KTY_HMAC] = "hmac" };

/* ---- one key ---- */

static struct slice trim_end(const struct buf *text)
{
    size_t len = text->len;

    while (len && strchr(" \t\r\n", text->data[len - 1]) && text->data[len - 1])
        len--;
    return slice_make(text->data ? text->data : "", len);
}

/* Is len a length that a key of this kind can have? *allowed says which lengths are, for a
 * person. */
static bool length_good(enum config_kty kty, size_t len, const char **allowed)
{
    *allowed = kty == CONFIG_KTY_ED25519 ? "32 bytes of Ed25519 public key in base64 on one line"
                                         : "32 to 512 bytes of secret in base64 on one line";
    return key_len_good(kty, len);
}

/* A server that reads the file as its owner, or as root, needs no right of the group. A file of
 * another owner (root's, as containers mount secrets) is read by the right of the group. */
mode_t file_readers(const struct stat *status)
{
    bool group_needed = geteuid() != 0 && geteuid() != status->st_uid;

    return status->st_mode & (group_needed ? S_IROTH : S_IRGRP | S_IROTH);
}

bool keyfile_is_guarded(struct draft *draft, struct spot spot, const char *path, bool secret,
                        const struct stat *status)
{
    if (secret && file_readers(status)) {
        report_error(draft->report, spot,
                     "found \"%s\" readable by others (mode %03o), allowed to its owner alone: run "
                     "chmod 600 %s",
                     path, (unsigned)status->st_mode & 0777, path);
        return false;
    }
    if (status->st_mode & S_IWOTH) {
        report_error(draft->report, spot,
                     "found \"%s\" writable by others (mode %03o), allowed to its owner alone: run "
                     "chmod go-w %s",
                     path, (unsigned)status->st_mode & 0777, path);
        return false;
    }
    return true;
}

static bool read_key_file(struct draft *draft, struct spot spot, const char *path,
                          struct config_key *key)
{
    struct buf text;
    struct stat status;
    const char *allowed, *reason = file_read(path, KEY_FILE_BYTES_MAX, &text, &status);
    uint8_t bytes[KEY_FILE_BYTES_MAX];
    size_t len;
    bool good;

    length_good(key->kty, 0, &allowed);
    if (reason) {
        report_error(draft->report, spot, "found \"%s\" unreadable (%s), allowed a file with %s",
                     path, reason, allowed);
        return false;
    }
    good = base64_decode(trim_end(&text), bytes, sizeof bytes, &len) &&
           length_good(key->kty, len, &allowed);
    file_wipe(&text);
    if (!good)
        report_error(draft->report, spot, "found \"%s\" with something else, allowed %s", path,
                     allowed);
    else if (!keyfile_is_guarded(draft, spot, path, key->kty == CONFIG_KTY_HMAC, &status))
        good = false;
    else if (!key_bytes_set(key, bytes, len))
        report_error(draft->report, spot, "out of memory");
    explicit_bzero(bytes, sizeof bytes);
    return good && key->bytes;
}

static struct config_key *key_of_kid(const struct config *config, const char *kid)
{
    for (size_t i = 0; i < config->auth.key_count; i++)
        if (strcmp(config->auth.keys[i].kid, kid) == 0)
            return &config->auth.keys[i];
    return NULL;
}

static bool same_material(const struct config_key *a, const struct config_key *b)
{
    return a->kty == b->kty && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static void drop_key(struct config_key *key)
{
    key_bytes_free(key);
}

/* Adds the key to the config, and takes key->bytes. listed: how many of the config's keys come from
 * auth.keys; a file in the directory with the same kid and bytes as one of these is no error. */
static void keep_key(struct draft *draft, struct spot spot, struct config_key *key, size_t listed)
{
    struct config *config = draft->config;
    struct config_key *old = key_of_kid(config, key->kid), *keys;

    if (old) {
        if (!((size_t)(old - config->auth.keys) < listed && same_material(old, key)))
            report_error(draft->report, spot, "found kid \"%s\" twice, allowed once", key->kid);
        drop_key(key);
        return;
    }
    if (config->auth.key_count == KEYS_MAX) {
        report_error(draft->report, spot, "found too many keys, allowed %d", KEYS_MAX);
        drop_key(key);
        return;
    }
    keys = realloc(config->auth.keys, (config->auth.key_count + 1) * sizeof *keys);
    if (!keys) {
        report_error(draft->report, spot, "out of memory");
        drop_key(key);
        return;
    }
    config->auth.keys = keys;
    keys[config->auth.key_count++] = *key;
}

/* ---- auth.keys ---- */

/* The members of one entry as written; NULL when absent or of the wrong type. */
struct entry {
    const char *kid, *kty, *public_file, *secret_file;
    const struct cJSON *not_after;
};

static void read_member(struct draft *draft, const char *path, const struct cJSON *node,
                        struct entry *entry)
{
    const char *name = tree_name(node), **field = NULL;

    if (strcmp(name, "kid") == 0)
        field = &entry->kid;
    else if (strcmp(name, "kty") == 0)
        field = &entry->kty;
    else if (strcmp(name, "publicFile") == 0)
        field = &entry->public_file;
    else if (strcmp(name, "secretFile") == 0)
        field = &entry->secret_file;
    else if (strcmp(name, "notAfter") == 0)
        entry->not_after = node;
    else
        report_error(
            draft->report, draft_spot_name(draft, path, node),
            "found the unknown key \"%.64s\", allowed kid, kty, publicFile, secretFile, notAfter",
            name);
    if (!field)
        return;
    if (tree_kind(node) == NODE_TEXT)
        *field = tree_text(node);
    else
        report_error(draft->report, draft_spot_value(draft, path, node),
                     "found %s no string, allowed a string", name);
}

static bool entry_kid(struct draft *draft, struct spot spot, const struct entry *entry,
                      struct config_key *key)
{
    if (!entry->kid || !check_kid(entry->kid)) {
        struct log_text quoted;
        report_error(draft->report, spot, "found kid %s, allowed 1 to 64 of A-Z a-z 0-9 _ . -",
                     entry->kid ? log_quote(&quoted, slice_of(entry->kid)) : "missing");
        return false;
    }
    snprintf(key->kid, sizeof key->kid, "%s", entry->kid);
    return true;
}

/* Returns the path of the file for the entry's kty, or NULL when that has been reported. */
static const char *entry_file(struct draft *draft, struct spot spot, const struct entry *entry,
                              struct config_key *key)
{
    bool ed25519 = entry->kty && strcmp(entry->kty, kty_names[CONFIG_KTY_ED25519]) == 0;
    bool hmac = entry->kty && strcmp(entry->kty, kty_names[CONFIG_KTY_HMAC]) == 0;
    const char *file = ed25519 ? entry->public_file : entry->secret_file;

    if (!ed25519 && !hmac) {
        struct log_text quoted;
        report_error(draft->report, spot, "found kty %s, allowed \"ed25519\" or \"hmac\"",
                     entry->kty ? log_quote(&quoted, slice_of(entry->kty)) : "missing");
        return NULL;
    }
    key->kty = ed25519 ? CONFIG_KTY_ED25519 : CONFIG_KTY_HMAC;
    if (!file || !*file || (entry->public_file && entry->secret_file)) {
        report_error(draft->report, spot,
                     "found kty \"%s\" without its one file, allowed %s and no other",
                     kty_names[key->kty], ed25519 ? "publicFile" : "secretFile");
        return NULL;
    }
    return file;
}

static bool entry_end(struct draft *draft, struct spot spot, const struct entry *entry,
                      struct config_key *key)
{
    key->not_after = INT64_MAX;
    if (!entry->not_after)
        return true;
    spot.mark = tree_mark(draft->tree, entry->not_after);
    if (tree_kind(entry->not_after) != NODE_INT || !tree_int(entry->not_after, &key->not_after) ||
        key->not_after < 0) {
        report_error(draft->report, spot,
                     "found notAfter something else, allowed Unix seconds, a whole number from 0");
        return false;
    }
    if (key->not_after < (int64_t)time(NULL))
        report_timed(draft->report, spot,
                     "found notAfter in the past: the key verifies nothing any more");
    return true;
}

static void load_entry(struct draft *draft, const struct cJSON *node, size_t index)
{
    struct config_key key = { 0 };
    struct entry entry = { 0 };
    const char *file;
    char path[64] = "", *joined;
    struct spot spot = draft_spot_value(draft, path, node);
    bool good;

    snprintf(path, sizeof path, "auth.keys[%zu]", index);
    if (tree_kind(node) != NODE_OBJECT) {
        report_error(draft->report, spot, "found no object, allowed an object");
        return;
    }
    for (const struct cJSON *member = tree_first(node); member; member = tree_next(member))
        read_member(draft, path, member, &entry);
    good = entry_kid(draft, spot, &entry, &key);
    good = entry_end(draft, spot, &entry, &key) && good;
    file = entry_file(draft, spot, &entry, &key);
    if (!file)
        return;
    joined = file_join(draft->config->dir, file);
    if (!joined) {
        report_error(draft->report, spot, "out of memory");
        return;
    }
    if (read_key_file(draft, spot, joined, &key)) {
        if (good)
            keep_key(draft, spot, &key, 0);
        else
            drop_key(&key);
    }
    free(joined);
}

/* ---- auth.keyDir ---- */

/* Is name KID.pub or KID.secret? KID.key, with which tokens are made, and all other files are
 * ignored. */
static bool kid_of_file(const char *name, struct config_key *key)
{
    size_t len = strlen(name);

    if (len > 4 && strcmp(name + len - 4, ".pub") == 0) {
        key->kty = CONFIG_KTY_ED25519;
        len -= 4;
    } else if (len > 7 && strcmp(name + len - 7, ".secret") == 0) {
        key->kty = CONFIG_KTY_HMAC;
        len -= 7;
    } else {
        return false;
    }
    key->not_after = INT64_MAX;
    snprintf(key->kid, sizeof key->kid, "%.*s", (int)(len < sizeof key->kid ? len : 0), name);
    return true;
}

static void load_key_file(struct draft *draft, const char *name, size_t listed)
{
    struct spot spot = draft_spot(draft, "auth.keyDir");
    struct config_key key = { 0 };
    char *path;

    if (*name == '.' || !kid_of_file(name, &key))
        return;
    path = file_join(draft->config->auth.key_dir, name);
    if (!path)
        report_error(draft->report, spot, "out of memory");
    else if (!check_kid(key.kid))
        report_error(draft->report, spot,
                     "found \"%s\", allowed as the name of a key 1 to 64 of A-Z a-z 0-9 _ . -",
                     path);
    else if (read_key_file(draft, spot, path, &key))
        keep_key(draft, spot, &key, listed);
    free(path);
}

static void load_key_dir(struct draft *draft)
{
    const char *folder = draft->config->auth.key_dir;
    size_t listed = draft->config->auth.key_count;
    struct dirent **entries = NULL;
    int count = *folder ? scandir(folder, &entries, NULL, alphasort) : 0;

    if (count < 0 && errno != ENOENT)
        report_error(draft->report, draft_spot(draft, "auth.keyDir"),
                     "found \"%s\" unreadable (%s), allowed a directory", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        load_key_file(draft, entries[i]->d_name, listed);
        free(entries[i]);
    }
    free(entries);
}

void keyfiles_load(struct draft *draft)
{
    size_t index = 0;

    for (const struct cJSON *node = draft->keys ? tree_first(draft->keys) : NULL; node;
         node = tree_next(node))
        load_entry(draft, node, index++);
    load_key_dir(draft);
    if (draft->config->auth.required && draft->config->auth.key_count == 0 &&
        !*draft->config->auth.jwks_file)
        report_warning(
            draft->report, draft_spot(draft, "auth.keyDir"),
            "found no key in \"%s\", and tokens are required: the server will not start; "
            "`websocket-server keygen` makes one",
            draft->config->auth.key_dir);
}
