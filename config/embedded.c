/*
 * Where embedded storage lies: the folder that embedded:DIR names, and the unix socket of its
 * Redis.
 *
 * The socket lies in the folder, unless workers could not reach it there: the address of a unix
 * socket has room for 107 bytes, and a folder on the way may be closed to the workers' user. Then
 * the socket lies in a run folder, whose name is made of DIR, so that DIR has one in every run.
 * Nothing is made here: master/embedded_home.c makes both folders.
 */
#include "config/parts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { FOLDER_BYTES_MAX = 3072, SOCKET_ROOM = sizeof((struct sockaddr_un *)0)->sun_path };

static const char socket_name[] = "/redis.sock";

/* Takes the last part off an absolute path. */
static void go_up(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        *slash = 0;
}

/* Returns the folder as an absolute path without a slash at its end; NULL when out of memory. Each
 * "../" in front is taken from the true path of dir, so that status shows the folder plainly. */
static char *absolute_folder(const char *dir, const char *written)
{
    char *base = *written == '/' ? NULL : realpath(dir, NULL), *joined;

    if (!base && *written != '/' && errno == ENOMEM)
        return NULL;
    while (base && strncmp(written, "../", 3) == 0) {
        go_up(base);
        written += 3;
    }
    joined = file_join(base ? base : dir, written);
    free(base);
    for (size_t len = joined ? strlen(joined) : 0; len > 1 && joined[len - 1] == '/'; len--)
        joined[len - 1] = 0;
    return joined;
}

struct walker {
    uid_t uid;
    gid_t gid;
};

/* False when the user or the group does not exist: resolve.c reports that. */
static bool workers_user(const struct config *config, struct walker *walker)
{
    const struct passwd *user = getpwnam(*config->user ? config->user : "nobody");
    const struct group *group = *config->group ? getgrnam(config->group) : NULL;

    if (!user || (*config->group && !group))
        return false;
    *walker = (struct walker){ user->pw_uid, group ? group->gr_gid : user->pw_gid };
    return true;
}

static bool may_enter(const struct walker *walker, const struct stat *folder)
{
    mode_t needed = folder->st_uid == walker->uid   ? S_IXUSR
                    : folder->st_gid == walker->gid ? S_IXGRP
                                                    : S_IXOTH;

    return folder->st_mode & needed;
}

/* Can the workers' user walk through every folder above this one? The answer is no in doubt (access
 * lists, further groups). Folders that do not exist yet will be made so that the user can. */
static bool is_reachable(const char *folder, const struct config *config)
{
    char path[FOLDER_BYTES_MAX + 1];
    struct walker walker;
    struct stat status;

    if (geteuid() != 0 || !workers_user(config, &walker))
        return true;
    for (const char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(path, sizeof path, "%.*s", (int)(slash - folder), folder);
        if (stat(path, &status))
            return true;
        if (!may_enter(&walker, &status))
            return false;
    }
    return true;
}

/* FNV-1a: tells folders apart, and keeps nobody out. */
static unsigned long long fingerprint(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static bool name_in_run_folder(char *path, const char *folder)
{
    const char *run = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");

    return run && *run == '/' &&
           snprintf(path, SOCKET_ROOM, "%s/postoffice-%016llx%s", run, fingerprint(folder),
                    socket_name) < SOCKET_ROOM;
}

static char *socket_path(const char *folder, const struct config *config)
{
    char path[SOCKET_ROOM];

    if (strlen(folder) + sizeof socket_name > sizeof path || !is_reachable(folder, config)) {
        if (!name_in_run_folder(path, folder))
            snprintf(path, sizeof path, "/tmp/postoffice-%u-%016llx%s", (unsigned)geteuid(),
                     fingerprint(folder), socket_name);
    } else {
        snprintf(path, sizeof path, "%s%s", folder, socket_name);
    }
    return strdup(path);
}

const char *embedded_place(const struct config *config, struct config_redis *redis)
{
    char *folder, *path;

    if (!*redis->folder)
        return NULL;
    folder = absolute_folder(config->dir, redis->folder);
    if (!folder)
        return "out of memory";
    if (strlen(folder) > FOLDER_BYTES_MAX || !folder[1]) {
        free(folder);
        return "the folder is the root, or its name is too long";
    }
    path = socket_path(folder, config);
    free(redis->folder);
    free(redis->path);
    redis->folder = folder;
    redis->path = path;
    return path ? NULL : "out of memory";
}
