/* Reading files, and paths. Only regular files: a FIFO or a device would hang or never end. */
#include "config/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *read_all(int fd, size_t size_max, struct buf *out)
{
    for (;;) {
        ssize_t got;
        if (buf_reserve(out, 4096))
            return out->len + 4096 > out->size_max ? "a file that is too large" : "no memory";
        got = read(fd, out->data + out->len, 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return strerror(errno);
        if (got == 0)
            return NULL;
        out->len += (size_t)got;
        if (out->len > size_max)
            return "a file that is too large";
    }
}

const char *file_read(const char *path, size_t size_max, struct buf *out, struct stat *found)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    const char *reason = NULL;
    size_t room = size_max + 8192; /* one read more than allowed, to notice a larger file */

    if (fd < 0)
        return strerror(errno);
    buf_init(out, room);
    if (fstat(fd, &status))
        reason = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        reason = S_ISDIR(status.st_mode) ? "a directory" : "no regular file";
    /* Reserves all room at once: a buffer that grows leaves copies of a secret behind in freed
     * memory. */
    else if (status.st_size > 0 && (size_t)status.st_size <= size_max &&
             buf_reserve(out, (size_t)status.st_size + 4096))
        reason = "no memory";
    else
        reason = read_all(fd, size_max, out);
    close(fd);
    if (reason)
        file_wipe(out);
    else if (found)
        *found = status;
    return reason;
}

char *file_join(const char *base, const char *path)
{
    char *joined = NULL;

    if (*path == '/')
        return strdup(path);
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    if (asprintf(&joined, "%s%s%s", base, base[0] && base[strlen(base) - 1] == '/' ? "" : "/",
                 path) < 0)
        return NULL;
    return joined;
}

void file_wipe(struct buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->size);
    buf_fini(buf);
}
