#include "master/embedded_home.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    GENTLE_MS = 10000, /* for a Redis that was left behind, from SIGTERM to SIGKILL */
    KILLED_MS = 5000,  /* from SIGKILL to giving up */
    LOOK_MS = 20,
    PATH_SIZE = 4096,
};

struct taking { /* a folder that is being taken */
    const char *path;
    const struct privileges *privileges;
    char *why;
    size_t why_size;
};

__attribute__((format(printf, 2, 3))) static bool say_why(const struct taking *taking,
                                                          const char *format, ...)
{
    va_list args;
    int len = snprintf(taking->why, taking->why_size, "embedded storage: %.1024s: ", taking->path);

    va_start(args, format);
    if (len > 0 && (size_t)len < taking->why_size)
        vsnprintf(taking->why + len, taking->why_size - (size_t)len, format, args);
    va_end(args);
    return false;
}

static uid_t owner_wanted(const struct privileges *privileges)
{
    return privileges->drop ? privileges->uid : geteuid();
}

static const char *owner_name(const struct privileges *privileges)
{
    const struct passwd *user = privileges->drop ? NULL : getpwuid(geteuid());

    return privileges->drop ? privileges->user : user ? user->pw_name : "the server's user";
}

/* ---- folders ---- */

/* The folders on the way. The mode lets the workers' user through. */
static bool make_parents(const struct taking *taking)
{
    char path[PATH_SIZE];

    for (const char *slash = strchr(taking->path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(path, sizeof path, "%.*s", (int)(slash - taking->path), taking->path);
        if (mkdir(path, 0755) && errno != EEXIST && errno != EROFS && errno != EACCES)
            return say_why(taking, "%s cannot be made: %s", path, strerror(errno));
    }
    return true;
}

/* Gives a folder that this process has just made to the workers' user. The checks keep root from
 * giving away another folder, which an owner of the parent may have put in its place. */
static bool hand_over(const struct taking *taking, int fd)
{
    struct stat status;

    if (!taking->privileges->drop)
        return true;
    if (fstat(fd, &status) || status.st_uid != 0 || (status.st_mode & 07777) != 0700 ||
        status.st_nlink > 2)
        return say_why(taking, "was replaced while it was made");
    if (fchown(fd, taking->privileges->uid, taking->privileges->gid))
        return say_why(taking, "cannot be given to %s: %s", owner_name(taking->privileges),
                       strerror(errno));
    return true;
}

static bool is_private(const struct taking *taking, int fd)
{
    const char *owner = owner_name(taking->privileges);
    struct stat status;

    if (fstat(fd, &status))
        return say_why(taking, "%s", strerror(errno));
    if (status.st_uid != owner_wanted(taking->privileges))
        return say_why(taking,
                       "the owner is not %s, as whom Redis runs: choose another folder, or: "
                       "chown -R %s '%s'",
                       owner, owner, taking->path);
    if ((status.st_mode & 0777) != 0700)
        return say_why(taking, "the mode is %03o, and mail is for its owner alone: chmod 700 '%s'",
                       (unsigned)status.st_mode & 0777U, taking->path);
    return true;
}

/* Returns a descriptor of the folder, made when missing; -1 with the reason in why. */
static int take_folder(const struct taking *taking)
{
    bool made = false, good;
    mode_t before = umask(022);
    int fd = -1, reason;

    good = make_parents(taking);
    umask(077);
    if (good) {
        made = mkdir(taking->path, 0700) == 0;
        reason = errno; /* of mkdir */
        fd = open(taking->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (made ? O_NOFOLLOW : 0));
        if (fd < 0 && errno == ENOENT)
            say_why(taking, "cannot be made: %s", strerror(reason));
        else if (fd < 0)
            say_why(taking, "cannot be opened: %s", strerror(errno));
    }
    umask(before);
    if (fd < 0 || ((!made || hand_over(taking, fd)) && is_private(taking, fd)))
        return fd;
    close(fd);
    return -1;
}

/* The folder of the socket, when the socket does not lie in DIR itself. */
static bool take_run_folder(struct embedded_home *home, const struct taking *taking,
                            const struct config_redis *redis)
{
    struct taking run = *taking;
    int fd;

    home->run_folder = strndup(redis->path, (size_t)(strrchr(redis->path, '/') - redis->path));
    if (!home->run_folder)
        return say_why(taking, "out of memory");
    if (strcmp(home->run_folder, redis->folder) == 0) {
        free(home->run_folder);
        home->run_folder = NULL;
        return true;
    }
    run.path = home->run_folder;
    fd = take_folder(&run);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* ---- the locks ---- */

static struct flock whole_file(void)
{
    return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}

static int open_redis_lock(int folder_fd, int flags)
{
    return openat(folder_fd, "redis.lock", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags,
                  0600);
}

/* A copy of the lock's descriptor in the master would take the lock away when the copy is closed,
 * so the child opens the file itself. */
int embedded_home_lock_redis(const struct embedded_home *home)
{
    struct flock lock = whole_file();
    int fd = open_redis_lock(home->folder_fd, O_CREAT);

    if (fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Returns the process that holds DIR/redis.lock; 0: none does; -1: one that cannot be named, as in
 * another container. */
static pid_t lock_holder(int lock_fd)
{
    struct flock lock = whole_file();

    if (fcntl(lock_fd, F_GETLK, &lock))
        return -1;
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid > 0 ? lock.l_pid : -1;
}

/* Root must signal no process that is not the workers' user's own, whoever holds the lock. */
static bool is_theirs(pid_t pid, const struct privileges *privileges)
{
    char path[32];
    struct stat status;

    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    return pid > 1 && stat(path, &status) == 0 && status.st_uid == owner_wanted(privileges);
}

static bool ends_within(int lock_fd, int ms)
{
    const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
    uint64_t until_ms = clock_monotonic_ms() + (uint64_t)ms;

    while (lock_holder(lock_fd) != 0) {
        if (clock_monotonic_ms() >= until_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static bool end_left_behind(const struct taking *taking, int lock_fd)
{
    pid_t pid = lock_holder(lock_fd);

    if (pid == 0)
        return true;
    if (!is_theirs(pid, taking->privileges))
        return say_why(taking, "another process (pid %d) uses it: end that one", (int)pid);
    log_warn("storage_left_behind", "pid_of_redis=%d", (int)pid);
    kill(pid, SIGTERM);
    kill(pid, SIGCONT); /* a stopped process would answer no SIGTERM */
    if (ends_within(lock_fd, GENTLE_MS))
        return true;
    pid = lock_holder(lock_fd);
    if (is_theirs(pid, taking->privileges))
        kill(pid, SIGKILL);
    return ends_within(lock_fd, KILLED_MS) ||
           say_why(taking, "a Redis (pid %d) that was left behind does not end", (int)pid);
}

static bool clear_left_behind(const struct taking *taking, int folder_fd)
{
    int fd = open_redis_lock(folder_fd, O_CLOEXEC);
    bool clear;

    if (fd < 0)
        return errno == ENOENT || say_why(taking, "redis.lock: %s", strerror(errno));
    clear = end_left_behind(taking, fd);
    close(fd);
    return clear;
}

static bool take_lock(struct embedded_home *home, const struct taking *taking)
{
    char path[PATH_SIZE], why[PATH_SIZE + 128];

    snprintf(path, sizeof path, "%s/master.pid", taking->path);
    switch (pidfile_take(&home->lock, path, why, sizeof why)) {
    case OK:
        return true;
    case ERR_EXISTS: {
        pid_t pid = 0;
        pidfile_read(path, &pid);
        return say_why(taking, "another server uses it (pid %d)", (int)pid);
    }
    default:
        return say_why(taking, "%s", why);
    }
}

bool embedded_home_open(struct embedded_home *home, const struct config *config,
                        const struct privileges *privileges, char *why, size_t why_size)
{
    struct taking taking = {
        .path = config->redis.folder, .privileges = privileges, .why = why, .why_size = why_size
    };

    home->folder_fd = take_folder(&taking);
    if (home->folder_fd < 0)
        return false;
    if (take_run_folder(home, &taking, &config->redis) && take_lock(home, &taking) &&
        clear_left_behind(&taking, home->folder_fd))
        return true;
    embedded_home_close(home);
    return false;
}

void embedded_home_close(struct embedded_home *home)
{
    pidfile_leave(&home->lock);
    if (home->run_folder)
        rmdir(home->run_folder); /* fails while a Redis that was not ours has its socket there */
    free(home->run_folder);
    home->run_folder = NULL;
    if (home->folder_fd >= 0)
        close(home->folder_fd);
    home->folder_fd = -1;
}
