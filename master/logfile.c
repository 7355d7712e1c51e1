/*
 * log.file may lie in a folder that another user can write, while the master is root. So a link
 * must never lead the master to another file: O_NOFOLLOW refuses a symbolic link, and the count of
 * links tells a hard link.
 */
#include "master/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FLAGS = O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };

/* ENXIO: a FIFO without a reader. Opened for both directions, the FIFO keeps the first lines for a
 * reader that comes later, and drops the rest. */
static int open_without_waiting(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | FLAGS, 0640);

    return fd < 0 && errno == ENXIO ? open(path, O_RDWR | FLAGS) : fd;
}

/* A user who is not root can harm only files of his own. */
static bool is_ours(int fd, const char **reason)
{
    struct stat status;

    *reason = "fstat failed";
    if (fstat(fd, &status))
        return false;
    *reason = "the file has a second name (a hard link), which may be somebody else's file: remove "
              "the other name, or this one";
    return geteuid() != 0 || !S_ISREG(status.st_mode) || status.st_nlink == 1;
}

int logfile_open(const char *path, char *why, size_t why_size)
{
    int fd = open_without_waiting(path);
    const char *reason;

    if (fd < 0) {
        snprintf(why, why_size, "%s",
                 errno == ELOOP ? "a symbolic link is not followed" : strerror(errno));
        return -1;
    }
    if (is_ours(fd, &reason))
        return fd;
    snprintf(why, why_size, "%s", reason);
    close(fd);
    return -1;
}
