/*
 * Finds the configuration file.
 *
 * The folder of the executable decides, never the folder of the caller: a command means the same
 * file wherever the command is typed. An installed executable (in a folder `bin` or `sbin` without
 * a folder `config`) reads the system's configuration; any other reads the one beside itself.
 */
#include "config/checks.h"
#include "config/parts.h"

#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef POSTOFFICE_SYSCONFDIR
#define POSTOFFICE_SYSCONFDIR "/etc"
#endif

enum { LOOKED_BYTES_MAX = 16384 };

static const char system_folder[] = POSTOFFICE_SYSCONFDIR "/postoffice";

struct folders {
    char first[PATH_MAX], second[PATH_MAX]; /* second may be "": none */
};

/* Puts the folder of the running executable into path; "" without /proc. */
static void own_folder(char path[PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);

    path[len > 0 ? len : 0] = 0;
    if (path[0])
        *(strrchr(path, '/') + (strrchr(path, '/') == path)) = 0;
}

void find_folders(const char *own, bool config_beside, char first[PATH_MAX], char second[PATH_MAX])
{
    const char *name = strrchr(own, '/');
    int prefix_len = name ? (int)(name - own) : 0;

    if (!own[0]) {
        snprintf(first, PATH_MAX, "%s", system_folder);
        second[0] = 0;
    } else if (!config_beside && name && (!strcmp(name, "/bin") || !strcmp(name, "/sbin"))) {
        snprintf(first, PATH_MAX, "%s", system_folder);
        snprintf(second, PATH_MAX, "%.*s/etc/postoffice", prefix_len, own);
        if (strcmp(first, second) == 0)
            second[0] = 0;
    } else {
        snprintf(first, PATH_MAX, "%s/config", strcmp(own, "/") ? own : "");
        snprintf(second, PATH_MAX, "%s", system_folder);
    }
}

static void usual_folders(struct folders *folders)
{
    char own[PATH_MAX], beside[PATH_MAX + 8];

    own_folder(own);
    snprintf(beside, sizeof beside, "%s/config", own);
    find_folders(own, access(beside, F_OK) == 0, folders->first, folders->second);
}

/* A file in a folder that may not be searched counts as there: reading the file says why not. */
static bool is_there(const char *path)
{
    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* Returns the path of the first of names in the folder; NULL when there is none, each path
 * appended to looked. *no_memory is set when memory is out. */
static char *look_in(const char *folder, const char *const names[2], struct buf *looked,
                     bool *no_memory)
{
    for (int i = 0; i < 2 && names[i] && !*no_memory; i++) {
        char *path = file_join(folder, names[i]);
        if (!path)
            *no_memory = true;
        else if (is_there(path))
            return path;
        else
            buf_addf(looked, "%s%s", looked->len ? ", " : "", path);
        free(path);
    }
    return NULL;
}

static char *look(const char *const folders[2], const char *const names[2],
                  struct config_report *report)
{
    struct buf looked;
    char *path = NULL;
    bool no_memory = false;

    buf_init(&looked, LOOKED_BYTES_MAX);
    for (int i = 0; i < 2 && folders[i] && folders[i][0] && !path; i++)
        path = look_in(folders[i], names, &looked, &no_memory);
    if (!path && no_memory)
        report_error(report, (struct spot){ names[0], "", { 0 } }, "out of memory");
    else if (!path)
        report_error(report, (struct spot){ names[0], "", { 0 } }, "found none, looked for %s",
                     buf_text(&looked));
    buf_fini(&looked);
    return path;
}

static bool env_name_good(const struct config_source *source, const char *name,
                          struct config_report *report)
{
    struct spot spot = { source->env ? "command line" : "environment",
                         source->env ? "--env" : "POSTOFFICE_ENV",
                         { 0 } };
    struct log_text quoted;

    if (check_env_name(name))
        return true;
    report_error(report, spot, "found %s, allowed 1 to 64 of A-Z a-z 0-9 _ -",
                 log_quote(&quoted, slice_of(name)));
    return false;
}

char *find_file(const struct config_source *source, struct config_report *report)
{
    const char *variable = getenv("POSTOFFICE_ENV"), *env = source->env;
    const char *names[2] = { "config.json", "config-dev.json" };
    const char *places[2] = { source->config_dir, NULL };
    struct folders folders;
    char named[128];

    if (!env && variable && *variable)
        env = variable;
    if (env) {
        if (!env_name_good(source, env, report))
            return NULL;
        snprintf(named, sizeof named, "config-%s.json", env);
        names[0] = named;
        names[1] = NULL;
    }
    if (!places[0]) {
        usual_folders(&folders);
        places[0] = folders.first;
        places[1] = folders.second;
    }
    return look(places, names, report);
}
