#include "master/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 50, LOCK_PAUSE_MS = 20 };

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

static int refuse_path(char *why, size_t why_size, const char *path, const char *reason)
{
    snprintf(why, why_size, "listen unix:%s: %s", path, reason);
    return -1;
}

/* Two servers that start at once must not both find the same dead socket: the second would remove
 * the socket that the first has just made. The lock on the folder leaves no file behind. Whoever
 * holds the lock for long is no server, and is not waited for. */
static int lock_folder(const char *path)
{
    const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };
    char folder[LISTEN_PATH_MAX];
    int fd;

    snprintf(folder, sizeof folder, "%s", path);
    strrchr(folder, '/')[folder[0] == '/' && strrchr(folder, '/') == folder] = 0;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB); i++)
        nanosleep(&pause, NULL);
    return fd;
}

/* Does a process accept connections at this path? A full backlog is a sign of life, too. */
static bool somebody_listens(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool dead;

    if (fd < 0)
        return true;
    dead = connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno == ECONNREFUSED;
    close(fd);
    return !dead;
}

/* Makes the path free. -1 with the reason in why. */
static int clear_path(const char *path, char *why, size_t why_size)
{
    struct stat there;

    if (lstat(path, &there))
        return errno == ENOENT ? 0 : refuse_path(why, why_size, path, strerror(errno));
    if (!S_ISSOCK(there.st_mode))
        return refuse_path(why, why_size, path, "there is something else in its place");
    if (somebody_listens(path))
        return refuse_path(why, why_size, path, "a server already listens there");
    if (unlink(path) && errno != ENOENT)
        return refuse_path(why, why_size, path, strerror(errno));
    return 0;
}

/* Gives the new file its group and then its mode, by a descriptor of the file itself: somebody who
 * may write to the folder could put a link in its place. */
static int hand_over(const struct listen_item *item, struct unix_socket *made, char *why,
                     size_t why_size)
{
    struct group *group = *item->group ? getgrnam(item->group) : NULL;
    int fd = open(item->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char name[32];
    struct stat file;
    bool good;

    if (fd < 0 || fstat(fd, &file) || !S_ISSOCK(file.st_mode)) {
        if (fd >= 0)
            close(fd);
        return refuse_path(why, why_size, item->path, "was replaced while it was made");
    }
    made->dev = file.st_dev;
    made->ino = file.st_ino;
    snprintf(made->path, sizeof made->path, "%s", item->path);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    good = (!*item->group || group) &&
           (!group || fchownat(fd, "", (uid_t)-1, group->gr_gid, AT_EMPTY_PATH) == 0) &&
           chmod(name, (mode_t)item->mode) == 0;
    if (!good)
        refuse_path(why, why_size, item->path,
                    *item->group && !group ? "its group does not exist" : strerror(errno));
    close(fd);
    if (good)
        return 0;
    unix_socket_remove(made);
    return -1;
}

/* Until hand_over nobody but the master's user can connect. */
static int bind_path(int fd, const char *path)
{
    struct sockaddr_un address = address_of(path);
    mode_t before = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&address, sizeof address);

    umask(before);
    return rc;
}

int unix_socket_open(const struct listen_item *item, int backlog, struct unix_socket *made,
                     char *why, size_t why_size)
{
    int lock = lock_folder(item->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool good = false;

    if (fd < 0)
        refuse_path(why, why_size, item->path, strerror(errno));
    else if (clear_path(item->path, why, why_size) == 0) {
        if (bind_path(fd, item->path))
            refuse_path(why, why_size, item->path, strerror(errno));
        else if (hand_over(item, made, why, why_size) == 0) {
            good = listen(fd, backlog) == 0;
            if (!good) {
                refuse_path(why, why_size, item->path, strerror(errno));
                unix_socket_remove(made);
            }
        }
    }
    if (lock >= 0)
        close(lock);
    if (good)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

void unix_socket_remove(const struct unix_socket *made)
{
    struct stat there;

    if (lstat(made->path, &there) == 0 && there.st_dev == made->dev && there.st_ino == made->ino)
        unlink(made->path);
}
