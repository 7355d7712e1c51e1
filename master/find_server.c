#include "master/find_server.h"

#include "master/cmd_source.h"
#include "master/pidfile.h"
#include "master/server.h"
#include "master/status_door.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SERVERS_MAX = 64 };

static const char memfd_link[] = "/memfd:postoffice";

static int not_running(const char *path, const char *why)
{
    fprintf(stderr, "websocket-server: not running (%s%s%s)\n", path, path[0] ? ": " : "", why);
    return EXIT_NOT_RUNNING;
}

/* ---- the shared memory ---- */

static bool is_region(int dir_fd, const char *name)
{
    char target[64];
    ssize_t len = readlinkat(dir_fd, name, target, sizeof target);

    return len >= (ssize_t)sizeof memfd_link - 1 &&
           memcmp(target, memfd_link, sizeof memfd_link - 1) == 0;
}

/* The master's descriptors are closed to its own user: opendir fails with EACCES, or with ENOENT
 * where /proc hides what may not be traced (hidepid; the unit's ProtectProc). A process without a
 * door keeps the errno of opendir. */
static int ask_door(pid_t pid, int errno_of_proc)
{
    int fd = status_door_ask(pid);

    if (fd < 0 && errno == EACCES)
        errno = errno_of_proc;
    return fd;
}

/* Opens the region, which has no name in a file system, by the descriptors of the process that made
 * it. -1 with errno; ENOENT when the process holds no region. */
static int open_region(pid_t pid)
{
    char path[32];
    const struct dirent *entry;
    int fd = -1;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    if (!dir)
        return ask_door(pid, errno);
    errno = ENOENT;
    while (fd < 0 && (entry = readdir(dir)))
        if (is_region(dirfd(dir), entry->d_name))
            fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        else
            errno = ENOENT;
    closedir(dir);
    return fd;
}

struct region *find_region(pid_t pid, int *status)
{
    struct region *region;
    char why[256];
    int fd = open_region(pid);

    if (fd < 0 && (errno == ENOENT || errno == ESRCH)) {
        *status = not_running("", "that process is gone, or is no server");
        return NULL;
    }
    *status = EXIT_FAILED;
    if (fd < 0) {
        fprintf(stderr, "websocket-server: process %d: %s\n", (int)pid, strerror(errno));
        return NULL;
    }
    region = region_attach(fd, why, sizeof why);
    if (!region) {
        fprintf(stderr, "websocket-server: process %d: %s\n", (int)pid, why);
        close(fd);
    }
    return region;
}

/* Reads what a server says about itself. False when the server cannot be read: another user's, of
 * another version, or gone. */
static bool read_about(pid_t pid, struct about *about)
{
    char why[256];
    int fd = open_region(pid);
    struct region *region = fd < 0 ? NULL : region_attach(fd, why, sizeof why);

    if (region)
        about_read(region, about);
    else if (fd >= 0)
        close(fd);
    region_close(region);
    return region != NULL;
}

/* ---- what runs ---- */

/* Keeps the servers that this user may ask. *roots: one of root that this user may not ask, or 0.
 */
static size_t list_servers(struct door_owner *servers, pid_t *roots)
{
    size_t count = status_door_find(servers, SERVERS_MAX), kept = 0;

    *roots = 0;
    for (size_t i = 0; i < count; i++)
        if (geteuid() == 0 || servers[i].uid == geteuid())
            servers[kept++] = servers[i];
        else if (servers[i].uid == 0)
            *roots = servers[i].pid;
    return kept;
}

static void print_server(const struct door_owner *server)
{
    static struct about about;

    fprintf(stderr, "  --pid %-8d uid %u", (int)server->pid, (unsigned)server->uid);
    if (read_about(server->pid, &about)) {
        for (char *c = about.config_file; *c; c++)
            if ((unsigned char)*c < ' ' || *c == 0x7f)
                *c = '?';
        fprintf(stderr, ", port %d, configuration %s", about.port ? about.port : about.ssl_port,
                about.config_file);
    }
    fputc('\n', stderr);
}

static int find_any(pid_t *pid)
{
    struct door_owner servers[SERVERS_MAX];
    pid_t roots;
    size_t count = list_servers(servers, &roots);

    if (count == 1) {
        *pid = servers[0].pid;
        return 0;
    }
    if (count == 0 && roots) {
        fprintf(stderr,
                "websocket-server: root runs a server (pid %d): only root may ask it, as with "
                "sudo\n",
                (int)roots);
        return EXIT_FAILED;
    }
    if (count == 0)
        return not_running("", "no server of this user runs here");
    fprintf(stderr, "websocket-server: %zu servers run; choose one:\n", count);
    for (size_t i = 0; i < count; i++)
        print_server(&servers[i]);
    return EXIT_USAGE;
}

/* ---- the one that was named ---- */

/* Returns 0, or the exit status. */
static int pid_from(const char *path, pid_t *pid)
{
    switch (pidfile_read(path, pid)) {
    case OK:
        return 0;
    case ERR_ABSENT:
        return not_running(path, "no such file");
    case ERR_DOWN:
        return not_running(path, "left behind by a server that is gone");
    default:
        fprintf(stderr, "websocket-server: %s: cannot be read: %s\n", path, strerror(errno));
        return EXIT_FAILED;
    }
}

/* Finds the running server that reads this very file. A server in another folder, with a relative
 * pidFile, has its pid file there. */
static bool runs_with(const char *config_file, pid_t *pid)
{
    static struct about about;
    struct door_owner servers[SERVERS_MAX];
    char *wanted = realpath(config_file, NULL);
    pid_t roots;
    size_t count = wanted ? list_servers(servers, &roots) : 0;
    bool found = false;

    for (size_t i = 0; i < count && !found; i++) {
        char *real = read_about(servers[i].pid, &about) ? realpath(about.config_file, NULL) : NULL;
        found = real && strcmp(real, wanted) == 0;
        if (found)
            *pid = servers[i].pid;
        free(real);
    }
    free(wanted);
    return found;
}

static int pid_from_loaded(const struct config *config, pid_t *pid)
{
    char *path = config->pid_file[0] ? strdup(config->pid_file)
                                     : pidfile_default_path(config_main_port(config));
    int rc = 0;

    if ((!path || pidfile_read(path, pid)) && !runs_with(config->file, pid))
        rc = path ? pid_from(path, pid) : not_running("", "no server has this configuration");
    free(path);
    return rc;
}

static int pid_from_config(const struct config_source *source, pid_t *pid)
{
    struct config *config = cmd_source_load(source);
    int rc = config ? pid_from_loaded(config, pid) : EXIT_USAGE;

    config_free(config);
    return rc;
}

int find_server(const struct options *options, pid_t *pid)
{
    const struct config_source *source = &options->source;

    *pid = options->pid;
    if (options->pid_file)
        return pid_from(options->pid_file, pid);
    if (options->pid)
        return 0;
    if (source->file || source->env || source->config_dir)
        return pid_from_config(source, pid);
    return find_any(pid);
}
