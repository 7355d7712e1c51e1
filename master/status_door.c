#include "master/status_door.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { VISITORS_A_TURN = 16, PATIENCE_S = 5 };

static const char name_head[] = "postoffice-status-";

/* Room for one descriptor, aligned as cmsg(3) asks. */
union rights {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

static socklen_t name_of(pid_t master, struct sockaddr_un *name)
{
    int len;

    *name = (struct sockaddr_un){ .sun_family = AF_UNIX };
    len = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "%s%d", name_head, (int)master);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

int status_door_open(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un name;
    socklen_t len = name_of(getpid(), &name);

    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&name, len) == 0 && listen(fd, VISITORS_A_TURN) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool is_welcome(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static void send_fd(int to, int fd)
{
    union rights rights = { .bytes = { 0 } };
    char byte = 0;
    struct iovec part = { &byte, 1 };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = rights.bytes,
                              .msg_controllen = sizeof rights.bytes };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
    (void)sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT); /* the visitor may be gone */
}

void status_door_serve(int door_fd, const struct region *region)
{
    for (int i = 0; i < VISITORS_A_TURN; i++) {
        int visitor = accept4(door_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int fd;

        if (visitor < 0)
            return;
        fd = is_welcome(visitor) ? region_open_read_only(region) : -1;
        if (fd >= 0) {
            send_fd(visitor, fd);
            close(fd);
        }
        close(visitor);
    }
}

static bool is_master(int fd, pid_t master)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == master;
}

static int take_fd(int from)
{
    union rights rights;
    char byte;
    struct iovec part = { &byte, 1 };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = rights.bytes,
                              .msg_controllen = sizeof rights.bytes };
    struct cmsghdr *cmsg;
    int fd = -1;

    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) <= 0) {
        errno = EACCES; /* the master has shut the door */
        return -1;
    }
    cmsg = CMSG_FIRSTHDR(&message);
    if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(cmsg), sizeof fd);
    return fd;
}

int status_door_ask(pid_t master)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), region_fd = -1, errno_kept;
    struct timeval patience = { .tv_sec = PATIENCE_S };
    struct sockaddr_un name;
    socklen_t len = name_of(master, &name);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&name, len)) {
        errno_kept = EACCES; /* no door: the memory is another user's */
    } else if (!is_master(fd, master)) {
        errno_kept = EPERM;
    } else {
        region_fd = take_fd(fd);
        errno_kept = errno;
    }
    close(fd);
    errno = errno_kept;
    return region_fd;
}

/* ---- finding ---- */

/* Does this process really own its door? Any process can take the name; the kernel tells whose. */
static bool owner_of(pid_t master, uid_t *uid)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un name;
    socklen_t len = name_of(master, &name), peer_len = sizeof(struct ucred);
    struct ucred peer;
    bool owned = fd >= 0 && connect(fd, (struct sockaddr *)&name, len) == 0 &&
                 getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) == 0 &&
                 peer.pid == master;

    if (owned)
        *uid = peer.uid;
    if (fd >= 0)
        close(fd);
    return owned;
}

/* The pid of a line of /proc/net/unix that is a door; 0 for any other. */
static pid_t pid_of_line(const char *line)
{
    const char *name = strrchr(line, '@');
    long number;
    char *end;

    if (!name || strncmp(name + 1, name_head, sizeof name_head - 1) != 0)
        return 0;
    number = strtol(name + sizeof name_head, &end, 10);
    return end > name + sizeof name_head && *end == '\n' && number > 0 && number <= 4194304
               ? (pid_t)number
               : 0;
}

/* Sockets of visitors have the name of the door too. */
static bool is_known(const struct door_owner *found, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++)
        if (found[i].pid == pid)
            return true;
    return false;
}

size_t status_door_find(struct door_owner *found, size_t max)
{
    FILE *file = fopen("/proc/net/unix", "re");
    char line[512];
    size_t count = 0;

    while (file && count < max && fgets(line, sizeof line, file)) {
        pid_t pid = pid_of_line(line);
        if (pid && !is_known(found, count, pid) && owner_of(pid, &found[count].uid))
            found[count++].pid = pid;
    }
    if (file)
        fclose(file);
    return count;
}
