/*
 * How a config is put together, for the files of config/ alone:
 *
 *   load.c (which file) -> read.c (its values, the environment's) -> resolve.c (what several keys
 * mean together) -> keyfiles.c, jwks.c, revoked.c (the files they name)
 *
 * Every stage reports its problems and goes on, so that one run shows all of them.
 */
#ifndef CONFIG_PARTS_H
#define CONFIG_PARTS_H

#include "common/json.h"
#include "config/keys.h"
#include "config/report.h"
#include "config/tree.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

/* A config that is being read. */
struct draft {
    struct config *config;
    struct config_report *report;
    const char *file;
    const struct tree *tree; /* NULL while no file is read */
    bool use_environment;
    const struct cJSON *sources; /* dataSource.redis, or NULL */
    const struct cJSON *keys;    /* auth.keys, or NULL */
    const struct cJSON *pairs;   /* tls.certificates, or NULL */
    char *use;                   /* dataSource.use, owned; NULL when absent */
    struct spot use_spot;
    const char *uri; /* from the environment, borrowed; NULL when absent */
};

/* Frees *field and puts a copy of text there. False, with a report, when out of memory. */
bool read_draft_text(struct draft *draft, char **field, const char *text);

/* spot.c: where a value comes from. */
struct spot draft_spot(const struct draft *draft, const char *key);
/* The key, where `key` is written; else where `other`, which it is in conflict with, is. */
struct spot draft_spot_or(const struct draft *draft, const char *key, const char *other);
/* The i-th item of a list that has `count` items. */
struct spot draft_spot_item(const struct draft *draft, const char *key, size_t i, size_t count);
/* The value of a node of the file, and its name. path is what the report calls it. */
struct spot draft_spot_value(const struct draft *draft, const char *path, const struct cJSON *node);
struct spot draft_spot_name(const struct draft *draft, const char *path, const struct cJSON *node);

/* read.c */
bool read_defaults(struct draft *draft);
void read_tree(struct draft *draft, const struct cJSON *tree);
void read_environment(struct draft *draft);

/* resolve.c */
void resolve_draft(struct draft *draft);

/* keyfiles.c */
void keyfiles_load(struct draft *draft);
/* May nobody else read the secret, or put another key in the place of this one? False, with a
 * report that has the command that mends it. */
bool keyfile_is_guarded(struct draft *draft, struct spot spot, const char *path, bool secret,
                        const struct stat *status);

/* certfiles.c */
void certfiles_load(struct draft *draft);
/* Returns the bits of the mode by which others than the server could read a secret; 0: none. */
mode_t file_readers(const struct stat *status);

/* redis_tls.c: the files of redis.tls, when the chosen source is rediss://. */
void redis_tls_load(struct draft *draft);

/* revoked.c */
void revoked_load(struct draft *draft);

/* redis_uri.c. OK, or ERR_BAD with a static *reason. The former contents of *redis are freed either
 * way. */
enum err redis_uri_parse(const char *uri, struct config_redis *redis, const char **reason);
/* Appends the uri in a form that may be shown: without anything that could be a password. */
void redis_uri_redact(const char *uri, struct buf *out);
void redis_uri_fini(struct config_redis *redis);

/* embedded.c: makes redis->folder, as embedded:DIR has it, absolute, and chooses redis->path, the
 * socket. Returns NULL, or a static reason. */
const char *embedded_place(const struct config *config, struct config_redis *redis);
/* find.c: returns the path of the file that source means when source->file is NULL, owned by the
 * caller; NULL with a report. */
char *find_file(const struct config_source *source, struct config_report *report);
/* Writes the folders to look in, the second perhaps "" (none), for an executable in the folder own;
 * config_beside: own has a folder `config`. Pure. */
void find_folders(const char *own, bool config_beside, char first[PATH_MAX], char second[PATH_MAX]);

/* file.c: reads the whole of a regular file into out, which file_wipe frees. Returns NULL, or the
 * reason (a static text, or strerror's); then out needs no file_wipe. */
const char *file_read(const char *path, size_t size_max, struct buf *out, struct stat *status);
/* Returns base/path, or a copy of path when absolute, owned by the caller; NULL when out of
 * memory. */
char *file_join(const char *base, const char *path);
/* Frees a buffer that may hold a secret, overwritten with zeros first. */
void file_wipe(struct buf *buf);

/* secret.c: a copy of the bytes in locked memory; NULL when out of memory. secret_free overwrites
 * the copy; NULL is allowed. */
uint8_t *secret_new(const void *bytes, size_t len);
void secret_free(uint8_t *secret);
/* Gives the key a copy of bytes, in locked memory when key->kty says that they are secret. False
 * when out of memory. */
bool key_bytes_set(struct config_key *key, const void *bytes, size_t len);
void key_bytes_free(struct config_key *key);

/* Can a key of this kind be len bytes long? */
bool key_len_good(enum config_kty kty, size_t len);

/* jwk.c: one key of a JWK Set (RFC 7517 4), for jwks.c. */
enum jwk_verdict {
    JWK_GOOD,
    JWK_OTHER,   /* for encryption, or not for verifying: nothing to say about */
    JWK_UNKNOWN, /* left out: *why, a static text */
    JWK_PRIVATE, /* has the private part of a key pair */
    JWK_NO_MEMORY,
};
/* Reads a JSON object. JWK_GOOD: *key, with bytes that key_bytes_free frees. kid is filled, as far
 * as there is one, with every verdict but JWK_NO_MEMORY. */
enum jwk_verdict jwk_read(const struct json_value *object, struct arena *arena,
                          struct config_key *key, const char **why);
/* Is text what a set's kid may be: at most CONFIG_KID_BYTES_MAX bytes of UTF-8 without control
 * characters? "" is: no kid. */
bool jwk_kid_good(struct slice text);

/* jwks.c: reads the file of auth.jwks, if the configuration names one. */
void jwks_load(struct draft *draft);
/* Reads the text of a JWK Set. guarded: nobody else can read the text; else a secret in the set is
 * an error. */
void jwks_read(struct draft *draft, struct slice text, bool guarded);

/* pack.c: a copy, owned by the caller; NULL when out of memory. */
struct config *config_copy(const struct config *config);
/* pack.c: one row. Do two configs differ in it (yes when memory is out)? Gives `to` a copy of the
 * value that `from` has; false when out of memory. */
bool pack_row_differs(const struct key *key, const struct config *a, const struct config *b);
bool pack_row_copy(const struct key *key, const struct config *from, struct config *to);
/* pack.c: frees the value of one row, secrets wiped. */
void config_key_fini(const struct key *key, struct config *config);

#endif
