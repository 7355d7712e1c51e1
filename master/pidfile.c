#include "master/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_SIZE = 16, ATTEMPTS = 10 };

/* Reads a pid and at most one newline. *pid is 0 for an empty file. False when the file holds
 * anything else. */
static bool read_pid(int fd, pid_t *pid)
{
    char text[TEXT_SIZE];
    ssize_t len = pread(fd, text, sizeof text, 0);
    long number = 0;

    *pid = 0;
    if (len < 0 || len == (ssize_t)sizeof text)
        return false;
    if (len > 0 && text[len - 1] == '\n')
        len--;
    for (ssize_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || number > 100000000)
            return false;
        number = number * 10 + (text[i] - '0');
    }
    *pid = (pid_t)number;
    return true;
}

static bool write_pid(int fd)
{
    char text[TEXT_SIZE];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());

    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) == len;
}

static struct flock whole_file(void)
{
    return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}

/* Is the file at path still the file behind fd? */
static bool still_there(int fd, const char *path)
{
    struct stat ours, there;

    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

/* Opens and locks. ERR_AGAIN: a server that ended removed the file between open and lock. */
static enum err lock_once(const char *path, int *fd_out, char *why, size_t why_size)
{
    struct flock lock = whole_file();
    struct stat stat;
    pid_t pid;
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);

    if (fd < 0) {
        snprintf(why, why_size, "pid file %s: %s", path,
                 errno == ELOOP ? "is a symbolic link" : strerror(errno));
        return errno == ELOOP ? ERR_BAD : ERR_SYSTEM;
    }
    *fd_out = fd;
    if (fstat(fd, &stat) || !S_ISREG(stat.st_mode) || stat.st_nlink > 1 || !read_pid(fd, &pid)) {
        snprintf(why, why_size, "pid file %s: there is something else in its place", path);
        return ERR_BAD;
    }
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return still_there(fd, path) ? OK : ERR_AGAIN;
    if (errno == EAGAIN || errno == EACCES) {
        snprintf(why, why_size, "pid file %s: a server already runs with it (pid %d)", path,
                 (int)pid);
        return ERR_EXISTS;
    }
    snprintf(why, why_size, "pid file %s: cannot be locked: %s", path, strerror(errno));
    return ERR_SYSTEM;
}

static enum err lock_file(const char *path, int *fd_out, char *why, size_t why_size)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        enum err err;
        *fd_out = -1;
        err = lock_once(path, fd_out, why, why_size);
        if (err == OK)
            return OK;
        if (*fd_out >= 0)
            close(*fd_out);
        if (err != ERR_AGAIN)
            return err;
    }
    snprintf(why, why_size, "pid file %s: keeps being removed", path);
    return ERR_SYSTEM;
}

enum err pidfile_take(struct pidfile *pidfile, const char *path, char *why, size_t why_size)
{
    enum err err;

    *pidfile = (struct pidfile){ .fd = -1 };
    pidfile->path = strdup(path);
    if (!pidfile->path) {
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    err = lock_file(path, &pidfile->fd, why, why_size);
    if (err) {
        free(pidfile->path);
        *pidfile = (struct pidfile){ .fd = -1 };
        return err;
    }
    if (!write_pid(pidfile->fd)) {
        snprintf(why, why_size, "pid file %s: cannot be written: %s", path, strerror(errno));
        pidfile_leave(pidfile);
        return ERR_SYSTEM;
    }
    return OK;
}

void pidfile_leave(struct pidfile *pidfile)
{
    if (pidfile->path && still_there(pidfile->fd, pidfile->path))
        unlink(pidfile->path);
    if (pidfile->fd >= 0 && pidfile->path)
        close(pidfile->fd);
    free(pidfile->path);
    *pidfile = (struct pidfile){ .fd = -1 };
}

enum err pidfile_read(const char *path, pid_t *pid)
{
    struct flock lock = whole_file();
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    enum err err = OK;

    *pid = 0;
    if (fd < 0)
        return errno == ENOENT ? ERR_ABSENT : ERR_SYSTEM;
    if (fcntl(fd, F_OFD_GETLK, &lock))
        err = ERR_SYSTEM;
    else if (lock.l_type == F_UNLCK)
        err = ERR_DOWN;
    else if (!read_pid(fd, pid) ||
             *pid < 1) /* the holder of the lock has not written its pid yet */
        err = ERR_SYSTEM;
    close(fd);
    return err;
}

char *pidfile_default_path(int64_t port)
{
    const char *dir = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
    char *path = NULL;

    if (!dir || dir[0] != '/' ||
        asprintf(&path, "%s/websocket-server-%lld.pid", dir, (long long)port) < 0)
        return NULL;
    return path;
}
