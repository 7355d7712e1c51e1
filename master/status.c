#include "master/status.h"

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

enum { REPORT_BYTES_MAX = 1 << 20 };

static const char memfd_link[] = "/memfd:postoffice";

static int not_running(const char *path, const char *why)
{
    fprintf(stderr, "websocket-server: not running (%s%s%s)\n", path, path[0] ? ": " : "", why);
    return EXIT_NOT_RUNNING;
}

/* Reads the pid in a pid file whose lock is held. Returns 0, or the exit status. */
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

/* The same, from the pid file that the configuration names. */
static int pid_from_config(const struct config_source *source, pid_t *pid)
{
    struct config *config = cmd_source_load(source);
    char *path;
    int rc;

    if (!config)
        return EXIT_USAGE;
    path = config->pid_file[0] ? strdup(config->pid_file)
                               : pidfile_default_path(config_main_port(config));
    config_free(config);
    if (!path) {
        fputs("websocket-server: the server has no pid file: use --pid\n", stderr);
        return EXIT_USAGE;
    }
    rc = pid_from(path, pid);
    free(path);
    return rc;
}

static bool is_region(int dir_fd, const char *name)
{
    char target[64];
    ssize_t len = readlinkat(dir_fd, name, target, sizeof target);

    return len >= (ssize_t)sizeof memfd_link - 1 &&
           memcmp(target, memfd_link, sizeof memfd_link - 1) == 0;
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
        return errno == EACCES ? status_door_ask(pid) : -1;
    errno = ENOENT;
    while (fd < 0 && (entry = readdir(dir)))
        if (is_region(dirfd(dir), entry->d_name))
            fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        else
            errno = ENOENT;
    closedir(dir);
    return fd;
}

static int print_report(const struct region *region, bool json)
{
    struct buf out;
    bool good;

    buf_init(&out, REPORT_BYTES_MAX);
    if (json)
        status_json(region, &out);
    else
        status_text(region, &out);
    good = !out.failed && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    buf_fini(&out);
    return good ? 0 : EXIT_FAILED;
}

int status(const struct options *options)
{
    struct region *region;
    pid_t pid = options->pid;
    char why[256];
    int rc = 0, fd;

    if (options->pid_file)
        rc = pid_from(options->pid_file, &pid);
    else if (!pid)
        rc = pid_from_config(&options->source, &pid);
    if (rc)
        return rc;
    fd = open_region(pid);
    if (fd < 0 && (errno == ENOENT || errno == ESRCH))
        return not_running("", "that process is gone, or is no server");
    if (fd < 0) {
        fprintf(stderr, "websocket-server: process %d: %s\n", (int)pid, strerror(errno));
        return EXIT_FAILED;
    }
    region = region_attach(fd, why, sizeof why);
    if (!region) {
        fprintf(stderr, "websocket-server: process %d: %s\n", (int)pid, why);
        close(fd);
        return EXIT_FAILED;
    }
    rc = print_report(region, options->json);
    region_close(region);
    return rc;
}
