/*
 * Key files: KID.pub (Ed25519 public key) and KID.secret (HMAC secret), which servers read, and
 * KID.key (Ed25519 seed), which only `token issue` reads. One line of standard base64 each.
 *
 * A file is only created, never written over: without its key every token of the key is worthless.
 */
#ifndef MASTER_KEYFILE_H
#define MASTER_KEYFILE_H

#include "config/config.h"

enum { KEYFILE_SECRET_BYTES_MAX = 512, KEYFILE_KID_SIZE = 65, KEYFILE_NAME_SIZE = 80 };

/* A key that tokens are made with. Wipe with keyfile_wipe. */
struct keyfile {
    char kid[KEYFILE_KID_SIZE];
    enum config_kty kty;
    uint8_t bytes[KEYFILE_SECRET_BYTES_MAX]; /* the seed, or the HMAC secret */
    size_t len;
};
void keyfile_wipe(struct keyfile *key);

/* Is kid 1 to 64 of A-Z a-z 0-9 _ - . with no dot in front? A kid is part of a file's name. */
bool keyfile_kid_valid(const char *kid);
/* Writes a new kid such as "key-20261123-1f3a": the day (UTC) and a random part. */
void keyfile_kid_new(int64_t now_s, char kid[KEYFILE_KID_SIZE]);

/* Opens the directory, after making it (0755) when absent. Returns a descriptor, owned by the
 * caller; -1 with errno. */
int keyfile_dir_open(const char *path);
/* Makes a new key and its files. ERR_BAD: kid is not valid; ERR_EXISTS: a file of that kid is
 * there; ERR_SYSTEM with errno. No file is left behind after an error. */
enum err keyfile_create(int dir_fd, const char *kid, enum config_kty kty);

/* Reads KID.key or KID.secret; the kid is the file's name. ERR_SYSTEM with errno; ERR_BAD: another
 * name, or no key inside. */
enum err keyfile_read(const char *path, struct keyfile *key);
/* Finds the newest KID.key or (unless ed25519_only) KID.secret in the directory, of that kid alone
 * when kid is not NULL. OK with the file's name; ERR_ABSENT, or ERR_SYSTEM with errno. */
enum err keyfile_newest(const char *dir, const char *kid, bool ed25519_only,
                        char name[KEYFILE_NAME_SIZE]);

#endif
