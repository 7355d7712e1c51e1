/*
 * Key files: KID.pub (Ed25519 public key) and KID.secret (HMAC secret), which servers read, and
 * KID.key (Ed25519 seed), which only `token issue` reads. One line of standard base64 each.
 *
 * A file is only ever created, never written over: a key that is gone takes every token of its with
 * it.
 */
#ifndef MASTER_KEYFILE_H
#define MASTER_KEYFILE_H

#include "config/config.h"

enum { KEYFILE_SECRET_BYTES_MAX = 512, KEYFILE_KID_SIZE = 65, KEYFILE_NAME_SIZE = 80 };

/* What tokens are made with. Wipe it with keyfile_wipe. */
struct keyfile {
    char kid[KEYFILE_KID_SIZE];
    enum config_kty kty;
    uint8_t bytes[KEYFILE_SECRET_BYTES_MAX]; /* the seed, or the HMAC secret */
    size_t len;
};
void keyfile_wipe(struct keyfile *key);

/* 1 to 64 of A-Z a-z 0-9 _ - . and no dot in front: a kid is a file's name as well. */
bool keyfile_kid_valid(const char *kid);
/* "key-20261123-1f3a": of the day (UTC) and at random. */
void keyfile_kid_new(int64_t now_s, char kid[KEYFILE_KID_SIZE]);

/* Opens the directory, made 0755 when absent; -1 with errno. */
int keyfile_dir_open(const char *path);
/* Makes a new key and its files. ERR_EXISTS when any file of that kid is there; ERR_SYSTEM with
 * errno; nothing is left behind then. */
enum err keyfile_create(int dir_fd, const char *kid, enum config_kty kty);

/* Reads KID.key or KID.secret; the kid is the file's name. ERR_SYSTEM with errno, or ERR_BAD. */
enum err keyfile_read(const char *path, struct keyfile *key);
/* The name of the newest KID.key or (unless ed25519_only) KID.secret in the directory; of that kid
 * alone when kid is not NULL. ERR_ABSENT, or ERR_SYSTEM with errno. */
enum err keyfile_newest(const char *dir, const char *kid, bool ed25519_only,
                        char name[KEYFILE_NAME_SIZE]);

#endif
