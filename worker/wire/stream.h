/*
 * The two ways to read and write the bytes of a connection: plain (tls NULL), by the socket's own
 * calls; and TLS. Everything above these few functions is the same for both.
 *
 * A branch, no table of functions: the plain way costs a comparison with NULL.
 */
#ifndef WORKER_STREAM_H
#define WORKER_STREAM_H

#include "worker/wire/tls.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* As recv. */
static inline ssize_t stream_read(int fd, struct tls *tls, void *to, size_t size)
{
    ssize_t n;

    if (tls)
        return tls_read(tls, to, size);
    do
        n = recv(fd, to, size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

/* As sendmsg. */
static inline ssize_t stream_write(int fd, struct tls *tls, struct iovec *iov, size_t count)
{
    struct msghdr header = { .msg_iov = iov, .msg_iovlen = count };
    ssize_t n;

    if (tls)
        return tls_write(tls, iov, count);
    do /* one piece is the usual case; send is cheaper than sendmsg */
        n = count == 1 ? send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
                       : sendmsg(fd, &header, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Nothing follows. False: the end has not left yet; call again when the socket is writable. */
static inline bool stream_end(int fd, struct tls *tls)
{
    if (tls && !tls_end(tls))
        return false;
    shutdown(fd, SHUT_WR);
    return true;
}

static inline void stream_close(int fd, struct tls *tls)
{
    tls_free(tls);
    close(fd);
}

#endif
