#include "master/keyguard.h"

#include <dirent.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { GROUPS_MAX = 64 };

struct guard {
    const struct privileges *privileges;
    gid_t groups[GROUPS_MAX];
    int group_count;
    char *why;
    size_t why_size;
};

static bool in_group(const struct guard *guard, gid_t gid)
{
    for (int i = 0; i < guard->group_count; i++)
        if (guard->groups[i] == gid)
            return true;
    return false;
}

/* May the workers' user write? An owner may, whatever the mode says now. Without root the workers'
 * user is the one who starts the server and made the keys, so only everybody else is asked about.
 */
static bool may_write(const struct guard *guard, const struct stat *status)
{
    if (guard->privileges->drop && status->st_uid == guard->privileges->uid)
        return true;
    if (guard->privileges->drop && in_group(guard, status->st_gid))
        return (status->st_mode & S_IWGRP) != 0;
    return (status->st_mode & S_IWOTH) != 0;
}

static bool path_is_guarded(const struct guard *guard, const char *key, const char *path)
{
    const struct privileges *privileges = guard->privileges;
    bool owned;
    struct stat status;

    if (stat(path, &status) || !may_write(guard, &status))
        return true; /* an absent folder holds no key */
    owned = privileges->drop && status.st_uid == privileges->uid;
    snprintf(guard->why, guard->why_size,
             "%s: \"%s\" can be written by %s%s, which could make its own keys: run "
             "%s %s",
             key, path, privileges->drop ? "the workers' user " : "everybody",
             privileges->drop ? privileges->user : "", owned ? "chown root" : "chmod go-w", path);
    return false;
}

static bool is_key(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && *name != '.' && (strcmp(dot, ".pub") == 0 || strcmp(dot, ".secret") == 0);
}

static bool files_are_guarded(const struct guard *guard, const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    bool good = true;

    while (dir && good && (entry = readdir(dir))) {
        char path[4096];
        if (is_key(entry->d_name) &&
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
            good = path_is_guarded(guard, "auth.keyDir", path);
    }
    if (dir)
        closedir(dir);
    return good;
}

static bool folder_is_guarded(const struct guard *guard, const char *folder)
{
    return path_is_guarded(guard, "auth.keyDir", folder) && files_are_guarded(guard, folder);
}

/* The file, and the folder, in which another file could take its place. In a folder such as /tmp
 * only its owner may do that (sticky). */
static bool file_is_guarded(const struct guard *guard, const char *key, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct stat status;
    char folder[4096];

    if (!*path)
        return true;
    if (!path_is_guarded(guard, key, path))
        return false;
    if (!slash ||
        snprintf(folder, sizeof folder, "%.*s", (int)(slash > path ? slash - path : 1), path) >=
            (int)sizeof folder ||
        (stat(folder, &status) == 0 && status.st_mode & S_ISVTX))
        return true;
    return path_is_guarded(guard, key, folder);
}

static bool pairs_are_guarded(const struct guard *guard, const struct config *config)
{
    bool good = true;

    for (size_t i = 0; good && i < config->tls.pair_count; i++)
        good = file_is_guarded(guard, "sslCertPath", config->tls.pairs[i].cert_file) &&
               file_is_guarded(guard, "sslKeyPath", config->tls.pairs[i].key_file);
    return good;
}

/* Without rediss:// the files are not read. */
static bool redis_is_guarded(const struct guard *guard, const struct config *config)
{
    return !config->redis.tls ||
           (file_is_guarded(guard, "redis.tls.caFile", config->redis_tls.ca_file) &&
            file_is_guarded(guard, "redis.tls.certFile", config->redis_tls.cert_file) &&
            file_is_guarded(guard, "redis.tls.keyFile", config->redis_tls.key_file));
}

bool keyguard_check(const struct config *config, const struct privileges *privileges, char *why,
                    size_t why_size)
{
    const char *folder = config->auth.key_dir;
    struct guard guard = {
        .privileges = privileges, .group_count = GROUPS_MAX, .why = why, .why_size = why_size
    };

    if (!privileges->drop ||
        getgrouplist(privileges->user, privileges->gid, guard.groups, &guard.group_count) < 0)
        guard.group_count = privileges->drop ? GROUPS_MAX : 0; /* more groups: the first ones */
    return pairs_are_guarded(&guard, config) && redis_is_guarded(&guard, config) &&
           (!*folder || config->auth.key_count == 0 || folder_is_guarded(&guard, folder)) &&
           file_is_guarded(&guard, "auth.jwks", config->auth.jwks_file);
}
