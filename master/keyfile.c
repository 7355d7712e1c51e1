#include "master/keyfile.h"

#include "common/base64.h"
#include "worker/token/token.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SECRET_BYTES_NEW = 32,
    SECRET_BYTES_MIN = 32,
    LINE_SIZE =
        4 * ((KEYFILE_SECRET_BYTES_MAX + 2) / 3) + 2, /* base64 and a newline, and one too many */
};

void keyfile_wipe(struct keyfile *key)
{
    explicit_bzero(key, sizeof *key);
}

bool keyfile_kid_valid(const char *kid)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    size_t len = strlen(kid);

    return len >= 1 && len < KEYFILE_KID_SIZE && strspn(kid, allowed) == len && kid[0] != '.';
}

void keyfile_kid_new(int64_t now_s, char kid[KEYFILE_KID_SIZE])
{
    time_t now = (time_t)now_s;
    struct tm day = { .tm_mday = 1 };
    uint8_t random[2];

    gmtime_r(&now, &day);
    token_random(random, sizeof random);
    snprintf(kid, KEYFILE_KID_SIZE, "key-%04d%02d%02d-%02x%02x", day.tm_year + 1900, day.tm_mon + 1,
             day.tm_mday, random[0], random[1]);
}

int keyfile_dir_open(const char *path)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return -1;
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- writing ---- */

static bool write_line(int fd, const char *line, size_t len, mode_t mode)
{
    ssize_t written = write(fd, line, len);

    if (written >= 0 && (size_t)written < len)
        errno = ENOSPC; /* so few bytes are cut short for no other reason */
    /* fchmod, because the umask may have taken bits that a server of another user needs. */
    return written == (ssize_t)len && fchmod(fd, mode) == 0 && fsync(fd) == 0;
}

static enum err write_new(int dir_fd, const char *name, const uint8_t *bytes, size_t len,
                          mode_t mode)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    char line[LINE_SIZE];
    size_t line_len;
    bool done;

    if (fd < 0)
        return errno == EEXIST ? ERR_EXISTS : ERR_SYSTEM;
    line_len = base64_encode(line, bytes, len);
    line[line_len++] = '\n';
    done = write_line(fd, line, line_len, mode);
    explicit_bzero(line, sizeof line);
    if (close(fd) == 0 && done)
        return OK;
    int error = errno;
    unlinkat(dir_fd, name, 0);
    errno = error;
    return ERR_SYSTEM;
}

static bool any_exists(int dir_fd, const char *kid)
{
    static const char *const endings[] = { "pub", "key", "secret" };
    char name[KEYFILE_NAME_SIZE];
    struct stat status;

    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s.%s", kid, endings[i]);
        if (fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
            return true;
    }
    return false;
}

/* Writes the seed before the public key: no server ever trusts a key that nobody holds. */
static enum err create_ed25519(int dir_fd, const char *kid)
{
    char seed_name[KEYFILE_NAME_SIZE], public_name[KEYFILE_NAME_SIZE];
    uint8_t public_key[32], seed[32];
    enum err err;

    snprintf(seed_name, sizeof seed_name, "%s.key", kid);
    snprintf(public_name, sizeof public_name, "%s.pub", kid);
    token_keypair(public_key, seed);
    err = write_new(dir_fd, seed_name, seed, sizeof seed, 0600);
    explicit_bzero(seed, sizeof seed);
    if (err)
        return err;
    err = write_new(dir_fd, public_name, public_key, sizeof public_key, 0644);
    if (err) {
        int error = errno;
        unlinkat(dir_fd, seed_name, 0);
        errno = error;
    }
    return err;
}

static enum err create_hmac(int dir_fd, const char *kid)
{
    char name[KEYFILE_NAME_SIZE];
    uint8_t secret[SECRET_BYTES_NEW];
    enum err err;

    snprintf(name, sizeof name, "%s.secret", kid);
    token_random(secret, sizeof secret);
    err = write_new(dir_fd, name, secret, sizeof secret, 0600);
    explicit_bzero(secret, sizeof secret);
    return err;
}

enum err keyfile_create(int dir_fd, const char *kid, enum config_kty kty)
{
    enum err err;

    if (!keyfile_kid_valid(kid))
        return ERR_BAD;
    if (any_exists(dir_fd, kid)) /* a KID.pub and a KID.secret would be one kid twice */
        return ERR_EXISTS;
    err = kty == CONFIG_KTY_HMAC ? create_hmac(dir_fd, kid) : create_ed25519(dir_fd, kid);
    if (!err && fsync(dir_fd) < 0)
        err = ERR_SYSTEM;
    return err;
}

/* ---- reading ---- */

/* Splits a file's name into kid and kind. False when the file is no key that tokens are made
 * with. */
static bool name_read(const char *name, char kid[KEYFILE_KID_SIZE], enum config_kty *kty)
{
    const char *dot = strrchr(name, '.');

    if (!dot || dot == name || dot - name >= KEYFILE_KID_SIZE)
        return false;
    if (strcmp(dot, ".key") == 0)
        *kty = CONFIG_KTY_ED25519;
    else if (strcmp(dot, ".secret") == 0)
        *kty = CONFIG_KTY_HMAC;
    else
        return false;
    snprintf(kid, KEYFILE_KID_SIZE, "%.*s", (int)(dot - name), name);
    return keyfile_kid_valid(kid);
}

static ssize_t read_line(const char *path, char *line, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t len;

    if (fd < 0)
        return -1;
    len = read(fd, line, size);
    int error = errno;
    close(fd);
    errno = error;
    return len;
}

enum err keyfile_read(const char *path, struct keyfile *key)
{
    const char *slash = strrchr(path, '/');
    char line[LINE_SIZE + 1];
    ssize_t len;
    bool good;

    memset(key, 0, sizeof *key);
    if (!name_read(slash ? slash + 1 : path, key->kid, &key->kty))
        return ERR_BAD;
    len = read_line(path, line, sizeof line);
    if (len < 0)
        return ERR_SYSTEM;
    while (len > 0 && strchr(" \t\r\n", line[len - 1]) && line[len - 1])
        len--;
    good = base64_decode(slice_make(line, (size_t)len), key->bytes, sizeof key->bytes, &key->len) &&
           (key->kty == CONFIG_KTY_HMAC ? key->len >= SECRET_BYTES_MIN : key->len == 32);
    explicit_bzero(line, sizeof line);
    if (!good)
        keyfile_wipe(key);
    return good ? OK : ERR_BAD;
}

static bool newer(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static bool is_signing_key(const char *name, const char *kid, bool ed25519_only)
{
    char found[KEYFILE_KID_SIZE];
    enum config_kty kty;

    return name_read(name, found, &kty) && (!kid || strcmp(kid, found) == 0) &&
           !(ed25519_only && kty != CONFIG_KTY_ED25519);
}

enum err keyfile_newest(const char *dir, const char *kid, bool ed25519_only,
                        char name[KEYFILE_NAME_SIZE])
{
    struct timespec best = { 0, 0 };
    struct dirent *entry;
    struct stat status;
    DIR *folder = opendir(dir);

    if (!folder)
        return errno == ENOENT ? ERR_ABSENT : ERR_SYSTEM;
    *name = 0;
    while ((entry = readdir(folder))) {
        if (!is_signing_key(entry->d_name, kid, ed25519_only) ||
            fstatat(dirfd(folder), entry->d_name, &status, 0) < 0 || !S_ISREG(status.st_mode))
            continue;
        if (*name && !newer(&status.st_mtim, &best))
            continue;
        best = status.st_mtim;
        snprintf(name, KEYFILE_NAME_SIZE, "%.*s", KEYFILE_NAME_SIZE - 1, entry->d_name);
    }
    closedir(folder);
    return *name ? OK : ERR_ABSENT;
}
